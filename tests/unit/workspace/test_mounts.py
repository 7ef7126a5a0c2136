# SPDX-License-Identifier: Apache-2.0
"""Path arguments: what they mean, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.sandbox.spec import Mount
from sbx.workspace.mounts import MissingPathError, mount_order, ownership_warning, parse_mounts


@pytest.fixture(name="cwd")
def _cwd(tmp_path: Path) -> Path:
    """A folder with a project, a library, and a file in each."""
    for name in ("project/conf", "library"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project/conf/.env").write_text("secret")
    (tmp_path / "notes.txt").write_text("notes")
    return tmp_path.resolve()


def one(cwd: Path, arg: str) -> Mount:
    return parse_mounts([arg], cwd=cwd)[0]


@pytest.mark.parametrize(
    ("arg", "read_only"),
    [("project", False), ("project:ro", True), ("project:readonly", True), ("project:rw", False)],
)
def test_a_path_appears_at_the_same_path(cwd: Path, arg: str, *, read_only: bool) -> None:
    path = cwd / "project"
    assert one(cwd, arg) == Mount(source=path, target=path, read_only=read_only)


@pytest.mark.parametrize(
    "arg", ["project/", "./project", "project/../project", "library/../project/."]
)
def test_spellings_of_one_path(cwd: Path, arg: str) -> None:
    assert one(cwd, arg) == Mount(source=cwd / "project", target=cwd / "project")


def test_an_absolute_path_does_not_need_the_current_folder(cwd: Path) -> None:
    assert one(Path("/nowhere"), str(cwd / "project")).source == cwd / "project"


@pytest.mark.parametrize(
    ("arg", "target", "read_only"),
    [
        ("project:/srv/app", "/srv/app", False),
        ("project:/srv/app:ro", "/srv/app", True),
        ("project:/srv//app/:rw", "/srv/app", False),
        ("project://srv", "/srv", False),
    ],
)
def test_a_target_of_its_own(cwd: Path, arg: str, target: str, *, read_only: bool) -> None:
    assert one(cwd, arg) == Mount(source=cwd / "project", target=Path(target), read_only=read_only)


def test_a_link_keeps_the_name_that_the_user_gave(cwd: Path) -> None:
    (cwd / "link").symlink_to("project")
    assert one(cwd, "link") == Mount(source=cwd / "project", target=cwd / "link")


def test_dots_after_a_link_mean_what_the_kernel_says(cwd: Path) -> None:
    (cwd / "link").symlink_to("project/conf")
    assert one(cwd, "link/..") == Mount(source=cwd / "project", target=cwd / "project")


@pytest.mark.parametrize(
    "name", ["a:b", "a:ro", "a:/b", "-rf", "--help", "sp ace", "$(id)", "'\"", "ü", "..."]
)
def test_names_are_just_names(cwd: Path, name: str) -> None:
    (cwd / name).mkdir(parents=True)
    assert one(cwd, name) == Mount(source=cwd / name, target=cwd / name)
    assert one(cwd, f"{name}:ro") == Mount(source=cwd / name, target=cwd / name, read_only=True)
    assert one(cwd, f"{name}:/srv/x:ro").source == cwd / name


def test_of_two_readings_the_longest_existing_source_wins(cwd: Path) -> None:
    (cwd / "a").mkdir()
    (cwd / "a:" / "b").mkdir(parents=True)
    assert one(cwd, "a:/b").source == cwd / "a:" / "b"
    assert one(cwd, "a:/c").source == cwd / "a"


def test_files_follow_the_workspace_in_the_order_given(cwd: Path) -> None:
    mounts = parse_mounts(["project", "project/conf/.env:ro", "notes.txt"], cwd=cwd)
    assert [(m.source.name, m.read_only, m.is_file) for m in mounts] == [
        ("project", False, False),
        (".env", True, True),
        ("notes.txt", False, True),
    ]
    assert mount_order(mounts)[-1] == 1


def test_an_outer_folder_may_come_after_the_workspace_inside_it(cwd: Path) -> None:
    mounts = parse_mounts(["project/conf", "project:ro"], cwd=cwd)
    assert mount_order(mounts) == (1, 0)


def test_no_paths_are_no_mounts(cwd: Path) -> None:
    assert parse_mounts([], cwd=cwd) == ()


def test_a_missing_path_is_its_own_error_with_the_path(cwd: Path) -> None:
    with pytest.raises(MissingPathError, match="path not found") as caught:
        one(cwd, "absent:ro")
    assert caught.value.path == cwd / "absent"
    assert "mkdir -p" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("", "path is empty"),
        (":ro", "no path in `:ro`"),
        ("absent:/srv/x", "path not found"),
        ("project:relative", "neither a mode nor an absolute path"),
        ("project:rx", "neither a mode nor an absolute path"),
        ("project:/srv/../etc", "target has `..` in it"),
        ("project:/", "would hide"),
        ("project:/proc/x", "would hide"),
        ("project:/run/x", "would hide"),
        ("project:/dev", "would hide"),
        ("project:/etc", "would hide"),
        ("project:/usr/bin", "would hide"),
        ("project:/home/agent", "would hide"),
        ("project:/var/lib/docker/x", "would hide"),
        ("/", "the whole file system cannot be shared"),
        ("/proc/self/fdinfo:/srv/x", "not a place for files"),
        ("/sys:/srv/x", "not a place for files"),
        ("/dev/null:/srv/x", "neither a folder nor a regular file"),
        ("notes.txt", "workspace is not a folder"),
        ("new\nline", r"path has a control character in it: `new\\nline`"),
        ("esc\x1b[31m", r"path has a control character in it: `esc\\x1b"),
        ("bad\udcff", r"path is not UTF-8: `bad\\udcff`"),
    ],
)
def test_what_is_refused(cwd: Path, arg: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        one(cwd, arg)


@pytest.mark.parametrize("kind", ["fifo", "socket", "loop"])
def test_neither_a_folder_nor_a_file(cwd: Path, kind: str) -> None:
    path = cwd / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o140600)
    else:
        path.symlink_to(path)
    with pytest.raises(UserError, match=r"neither a folder|cannot use"):
        one(cwd, kind)


@pytest.mark.parametrize("shared", ["", "state", "state/sandboxes"])
def test_our_own_folders_are_never_shared(cwd: Path, shared: str) -> None:
    (cwd / "state/sandboxes").mkdir(parents=True)
    with pytest.raises(UserError, match="sbx keeps its own files"):
        parse_mounts([str(cwd / shared), "library"], cwd=cwd, private=[cwd / "state"])
    assert parse_mounts(["library"], cwd=cwd, private=[cwd / "state"])


def test_one_target_cannot_be_had_twice(cwd: Path) -> None:
    with pytest.raises(UserError, match="same target"):
        parse_mounts(["project", "library:/srv/x", f"notes.txt:{cwd}/project"], cwd=cwd)


@pytest.mark.parametrize(
    "arg",
    [
        "library:{}/project/new",
        "notes.txt:{}/project/conf",
        "library:{}/project/conf/.env",
        "library:{}/project/link",
    ],
)
def test_a_mount_inside_another_needs_its_place(cwd: Path, arg: str) -> None:
    (cwd / "project/link").symlink_to(cwd / "library")
    with pytest.raises(UserError, match=r"^no (file|folder) at") as caught:
        parse_mounts(["project", arg.format(cwd)], cwd=cwd)
    assert "Create an empty" in (caught.value.hint or "")
    assert not (cwd / "project/new").exists()


def test_ownership_is_told_only_when_it_hinders(cwd: Path) -> None:
    mounts = parse_mounts(["project"], cwd=cwd)
    owner = cwd.stat().st_uid
    assert ownership_warning(mounts, uid=owner) is None
    assert f"not to you ({owner + 1})" in (ownership_warning(mounts, uid=owner + 1) or "")
    assert ownership_warning(parse_mounts(["project:ro"], cwd=cwd), uid=owner + 1) is None
    (cwd / "project").chmod(0o777)
    assert ownership_warning(mounts, uid=owner + 1) is None
