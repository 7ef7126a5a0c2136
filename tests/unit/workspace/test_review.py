# SPDX-License-Identifier: Apache-2.0
"""Which changed files are pointed out before the host uses them."""

from __future__ import annotations

import pytest

from sbx.workspace.git.review import GITLINK, LINK, ChangedFile, review


def reasons(path: str, mode: int = 0o100644, target: str | None = None) -> list[str]:
    file = ChangedFile(path=path, status="M", old_mode=mode, new_mode=mode, link_target=target)
    return [found.reason for found in review([file])]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (".envrc", "entered"),
        ("deep/below/.envrc", "entered"),
        (".husky/pre-commit", "hook"),
        (".githooks/post-merge", "hook"),
        (".vscode/tasks.json", "editor"),
        ("sub/.vscode/settings.json", "editor"),
        (".claude/settings.json", "agent"),
        ("CLAUDE.md", "agent"),
        (".github/workflows/ci.yml", "integration"),
        ("Makefile", "build file"),
        ("src/common.mk", "build file"),
        ("build.gradle.kts", "build file"),
        ("package.json", "scripts"),
        ("web/package.json", "scripts"),
        ("setup.py", "scripts"),
        ("conftest.py", "scripts"),
        ("Dockerfile", "containers"),
        (".gitattributes", "Git"),
        (".gitmodules", "Git"),
        ("vendor/x/.git/config", "Git"),
    ],
)
def test_what_tools_run_is_pointed_out(path: str, word: str) -> None:
    (reason,) = reasons(path)
    assert word in reason


@pytest.mark.parametrize(
    "path", ["README.md", "src/main.c", "makefile.txt", "package.jsonx", "docs/envrc", "Makefile/x"]
)
def test_other_files_are_not(path: str) -> None:
    assert reasons(path) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../..", "a/../../../x"])
def test_a_link_out_is_pointed_out(target: str) -> None:
    assert reasons("sub/link", LINK, target) == ["a symbolic link out of the repository"]


def test_a_link_inside_is_not() -> None:
    assert reasons("sub/link", LINK, "../other/file") == []


def test_a_submodule_is_pointed_out_and_a_deleted_file_is_not() -> None:
    assert reasons("lib", GITLINK) == ["a submodule"]
    gone = ChangedFile(path="Makefile", status="D", old_mode=0o100644, new_mode=0)
    assert review([gone]) == ()


def test_findings_are_in_the_order_of_their_paths() -> None:
    files = [ChangedFile(path=p, status="A", old_mode=0, new_mode=0o100644) for p in
             ("z/Makefile", "a/.envrc")]  # fmt: skip
    assert [found.path for found in review(files)] == ["a/.envrc", "z/Makefile"]
