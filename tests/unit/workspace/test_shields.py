# SPDX-License-Identifier: Apache-2.0
"""What is found to be shielded or masked in a shared folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.errors import HostError, UserError
from sbx.sandbox.spec import Mount
from sbx.workspace.layout import plan_places
from sbx.workspace.mounts import private_paths
from sbx.workspace.shields import git_shields, mask_shields


@pytest.fixture(name="top")
def _top(tmp_path: Path) -> Path:
    top = tmp_path / "project"
    for name in ("src/deep", "node_modules/x", "config"):
        (top / name).mkdir(parents=True)
    for name in (".env", "src/.env", "src/deep/key.pem", "node_modules/x/index.js", "config/ok"):
        (top / name).write_text("secret\n")
    return top


@pytest.fixture(name="empty")
def _empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def repository(folder: Path) -> Path:
    """A git folder as far as it is looked at."""
    for name in ("objects", "refs"):
        (folder / name).mkdir(parents=True)
    for name in ("HEAD", "config"):
        (folder / name).write_text("x\n")
    return folder


def masked(top: Path, empty: Path, *patterns: str) -> dict[str, str]:
    """The masked paths, and what is shown there."""
    found = mask_shields([mount(top)], patterns, (), empty)
    assert all(shield.read_only for shield in found)
    return {str(s.target.relative_to(top)): s.source.name for s in found}


def mount(source: Path, *, read_only: bool = False) -> Mount:
    return Mount(source=source, target=source, read_only=read_only)


def test_files_and_folders_that_match_are_empty(top: Path, empty: Path) -> None:
    assert masked(top, empty, ".env", "*.pem", "node_modules/") == {
        ".env": "file",
        "src/.env": "file",
        "src/deep/key.pem": "file",
        "node_modules": "folder",
    }
    assert (empty / "file").read_bytes() == b""
    assert list((empty / "folder").iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/.env", {".env"}),
        ("src/*", {"src/.env", "src/deep"}),
        ("**/deep/", {"src/deep"}),
        ("src/**/*.pem", {"src/deep/key.pem"}),
        ("nothing", set[str]()),
        ("# .env", set[str]()),
    ],
)
def test_patterns_are_those_of_gitignore(
    top: Path, empty: Path, pattern: str, expected: set[str]
) -> None:
    assert set(masked(top, empty, pattern)) == expected


def test_a_later_line_takes_out_what_an_earlier_one_masks(top: Path, empty: Path) -> None:
    assert set(masked(top, empty, ".env", "!/src/.env")) == {".env"}


def test_the_file_in_the_folder_counts_and_cannot_be_written(top: Path, empty: Path) -> None:
    (top / ".sbxignore").write_text(".env\n")
    found = masked(top, empty)
    assert found == {".sbxignore": ".sbxignore", ".env": "file", "src/.env": "file"}


def test_links_are_not_followed_and_git_is_not_masked(top: Path, empty: Path) -> None:
    (top / "out").symlink_to("/etc")
    (top / "loop").symlink_to(".")
    repository(top / ".git")
    assert "config" in masked(top, empty, "config")
    assert set(masked(top, empty, "*")) == {".env", "src", "node_modules", "config"}


def test_a_line_that_is_no_pattern_is_said(top: Path, empty: Path) -> None:
    with pytest.raises(UserError, match="not a pattern"):
        masked(top, empty, "!")


def test_git_files_are_shielded_and_missing_ones_made(top: Path, empty: Path) -> None:
    repository(top / ".git")
    module = repository(top / ".git" / "modules" / "lib")
    linked = top / ".git" / "worktrees" / "w"
    linked.mkdir(parents=True)
    (linked / "commondir").write_text("../..\n")
    found = {str(s.target.relative_to(top)) for s in git_shields([mount(top)], empty)}
    assert found == {
        ".git/hooks", ".git/config", ".git/config.worktree", ".git/info/attributes",
        ".git/objects/info/alternates", ".git/worktrees/w/commondir",
        ".git/modules/lib/hooks", ".git/modules/lib/config",
    }  # fmt: skip
    assert (top / ".git" / "hooks").is_dir()
    assert (module / "hooks").is_dir()
    assert (top / ".git" / "config").read_text() == "x\n"


def test_nested_repositories_and_pointers_are_found(top: Path, empty: Path) -> None:
    repository(top / "src" / "deep" / ".git")
    (top / "config" / ".git").write_text("gitdir: ../elsewhere\n")
    (top / ".sbx" / "other-worktrees").mkdir(parents=True)
    found = {str(s.target.relative_to(top)): s for s in git_shields([mount(top)], empty)}
    assert "src/deep/.git/hooks" in found
    assert "config/.git" in found
    assert found[".sbx"].source == empty / "folder"


def test_a_bare_repository_is_shielded(tmp_path: Path, empty: Path) -> None:
    bare = repository(tmp_path / "bare.git")
    names = {s.target.name for s in git_shields([mount(bare)], empty)}
    assert {"hooks", "config"} <= names


def test_read_only_mounts_need_no_shield(top: Path, empty: Path) -> None:
    repository(top / ".git")
    assert git_shields([mount(top, read_only=True)], empty) == ()
    assert not (top / ".git" / "hooks").exists()


def test_a_repository_that_is_closed_to_us_needs_no_shield(top: Path, empty: Path) -> None:
    folder = repository(top / ".git")
    folder.chmod(0o555)
    try:
        assert not os.access(folder, os.W_OK), "the unit tier has no privileges"
        assert git_shields([mount(top)], empty) == ()
    finally:
        folder.chmod(0o755)


def test_what_cannot_be_shielded_is_said(top: Path, empty: Path) -> None:
    repository(top / ".git")
    (top / ".git" / "hooks").symlink_to("../src")
    with pytest.raises(HostError, match="symbolic link"):
        git_shields([mount(top)], empty)


def test_shields_have_no_number_and_pin_the_folders_above(top: Path, empty: Path) -> None:
    shields = mask_shields([mount(top)], ["key.pem"], (), empty)
    places = [str(p.where) for p in plan_places([mount(top)], shields)]
    assert places == ["0", "0/src", "0/src/deep", "0/src/deep/key.pem"]


def test_private_folders_are_made_and_covered(top: Path, empty: Path) -> None:
    paths = private_paths(["build/cache", "node_modules/"], [mount(top)])
    assert paths == ("build/cache", "node_modules")
    found = mask_shields([mount(top)], ["node_modules"], paths, empty)
    assert [str(s.target.relative_to(top)) for s in found] == ["build/cache", "node_modules"]
    assert (top / "build" / "cache").is_dir()


@pytest.mark.parametrize("path", ["/etc", "..", "../x", ".", "a/../..", ".git", ".git/hooks"])
def test_a_private_folder_is_below_the_workspace(top: Path, path: str) -> None:
    with pytest.raises(UserError, match="below the workspace"):
        private_paths([path], [mount(top)])


def test_a_private_folder_through_a_link_is_refused(top: Path, empty: Path) -> None:
    (top / "link").symlink_to("src")
    with pytest.raises(UserError, match="symbolic link"):
        mask_shields([mount(top)], (), ("link/deep",), empty)
