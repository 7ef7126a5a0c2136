# SPDX-License-Identifier: Apache-2.0
"""Names of a share: which are git's own, which make a repository, which are masked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from sbx.workspace.gate.gate import GateRules, gate_config
from sbx.workspace.gate.helper import Gate
from sbx.workspace.gate.rules import (
    Exists,
    Masks,
    is_git_folder,
    refuses,
    refuses_link,
    refuses_rename,
)
from sbx.workspace.patterns import matching


def tree(*paths: str) -> Exists:
    there = {tuple(path.encode().split(b"/")) for path in paths}
    return lambda parts: tuple(parts) in there


def parts(path: str) -> list[bytes]:
    return path.encode().split(b"/")


NOTHING = tree()
_ROOT = Path("/run/share")
BARE = ("x.git/HEAD", "x.git/objects", "x.git/refs")


@pytest.mark.parametrize(
    "path",
    [
        ".git", "a/.git", "a/.GIT", ".sbx", ".sbx/x", "commondir", ".git/commondir",
        ".git/config", ".git/config.worktree", ".git/hooks", ".git/hooks/pre-commit",
        ".git/info/attributes", ".git/objects/info/alternates",
        ".git/objects/info/http-alternates",
        ".git/worktrees/w/gitdir", ".git/worktrees/w/config.worktree", ".git/modules/a/b/config",
        ".git/modules/refs/hooks/x", ".git/modules/a/info/attributes", "deep/er/a/b/c/.git/config",
    ],
)  # fmt: skip
def test_gits_own(path: str) -> None:
    assert refuses(parts(path), is_new=True, exists=NOTHING)
    assert refuses(parts(path), is_new=False, exists=NOTHING)


@pytest.mark.parametrize(
    "path",
    [
        "config", "hooks", "src/hooks/useState.ts", "info/attributes", ".gitignore", ".git/HEAD",
        ".git/index.lock", ".git/refs/heads/config", ".git/refs/heads/hooks/x", ".git/info/exclude",
        ".git/logs/refs/heads/config", ".git/worktrees/w/HEAD", ".git/modules/a/HEAD", "HEAD",
        "gitdir", "objects", ".git/objects/info/commit-graph", "a.git/x", ".git/rebase-merge/onto",
    ],
)  # fmt: skip
def test_what_git_and_others_need(path: str) -> None:
    assert not refuses(parts(path), is_new=True, exists=NOTHING)


def test_no_folder_becomes_a_repository_whatever_is_made_last() -> None:
    for last in ("HEAD", "objects", "refs"):
        two = tree(*(f"d/{name}" for name in ("HEAD", "objects", "refs") if name != last))
        assert refuses(parts(f"d/{last}"), is_new=True, exists=two)
    whole = tree(*BARE)
    assert not refuses(parts("x.git/HEAD"), is_new=True, exists=whole), "git replaces its HEAD"


def test_a_bare_repository_of_the_host() -> None:
    there = tree(*BARE)
    for name in ("config", "hooks/update", "info/attributes", "objects/info/alternates"):
        assert refuses(parts(f"x.git/{name}"), is_new=True, exists=there)
    assert not refuses(parts("x.git/packed-refs"), is_new=True, exists=there)
    root = tree("HEAD", "objects", "refs")
    assert refuses(parts("config"), is_new=True, exists=root)
    assert is_git_folder([], root)


def test_folders_and_links_go_neither_into_nor_out_of_a_git_folder() -> None:
    there = tree(*BARE)
    assert refuses_rename(parts("a"), parts(".git/modules"), NOTHING)
    assert refuses_rename(parts(".git/modules"), parts("a"), NOTHING)
    assert refuses_rename(parts("a"), parts("x.git/info"), there)
    assert not refuses_rename(parts("a"), parts("b/c"), there)
    assert refuses_link(parts(".git/info"))
    assert not refuses_link(parts("a/link"))


PATTERNS = (
    "*.env", "!open.env", "vault/", "/top.key", "sub/**/x", "# comment", "", "a b", "[ab].pem",
    "logs/*", "!logs/keep/", "ü?.txt", "deep/er", "!deep/er",
)  # fmt: skip
NAMES = (
    "x.env", "a/x.env", "open.env", "a/open.env", "vault", "a/vault", "top.key", "a/top.key",
    "sub/x", "sub/a/b/x", "a b", "a.pem", "c.pem", "logs/one", "logs/keep", "ü1.txt", "deep/er",
    "plain", "vault/gold", "comment",
)  # fmt: skip


@pytest.mark.parametrize("is_folder", [False, True])
def test_masks_say_what_pathspec_says(is_folder: bool) -> None:
    fd = gate_config(GateRules(masks={0: tuple(p for p in PATTERNS if p)}), root=_ROOT)
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        gate = Gate(file.read())
    for name in NAMES:
        shown = f"{name}/" if is_folder else name
        expected = bool(matching([p for p in PATTERNS if p], [shown]))
        assert gate.is_masked((0, parts(name)), is_folder=is_folder) == expected, shown


def test_whether_a_pattern_is_about_a_path() -> None:
    masks = Masks()
    assert not masks.has_paths
    masks.add("x", include=True, has_path=True)
    assert masks.has_paths
    assert masks.match("x", is_folder=False)


def _unused(_parts: Sequence[bytes]) -> bool:
    raise AssertionError("the file system is not asked")


def test_the_file_system_is_asked_only_about_names_that_could_matter() -> None:
    for path in ("a/b/c", "README", "src/main.c", ".git/objects/ab/cdef", ".git/index"):
        assert not refuses(parts(path), is_new=True, exists=_unused)
