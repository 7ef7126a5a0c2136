# SPDX-License-Identifier: Apache-2.0
"""Copying through the real guest code, with the rules of `docker cp`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.agent.copy import copy_in, copy_out
from sbx.agent.trees import TreeReceiver
from sbx.errors import SbxError, UserError
from sbx.protocol.files import GetRequest, PathKind, PutRequest
from tests.kit.guest import Guest, run_guest

if os.geteuid() != 0:
    pytest.skip("needs root: files change their owner", allow_module_level=True)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with run_guest("here", tmp_path_factory.mktemp("guest")) as found:
        yield found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with everything in it that is transferred, and a fifo, which is not."""
    top = tmp_path / "tree"
    (top / "inner" / "empty").mkdir(parents=True)
    (top / "inner" / "big").write_bytes(bytes(range(256)) * 1000)
    (top / "script").write_text("#!/bin/sh\n")
    (top / "script").chmod(0o750)
    (top / "zero").write_bytes(b"")
    (top / "link").symlink_to("inner/big")
    (top / "dangling").symlink_to("/no/such")
    (top / os.fsdecode(b"odd\xff\nname")).write_text("x")
    os.mkfifo(top / "fifo")
    os.utime(top / "script", ns=(1_000_000_000, 1_500_000_000_123_456_789))
    (top / "inner" / "empty").chmod(0o711)
    return top


def shape(top: Path) -> dict[str, object]:
    """Everything about a tree that a copy keeps."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name, facts = str(path.relative_to(top)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", stat.S_IMODE(facts.st_mode))
        elif path.is_file():
            found[name] = (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns, path.read_bytes())
    return found


@pytest.fixture(params=["in", "out"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def copy(
    guest: Guest, way: str, source: object, target: object, *, follow: bool = False
) -> list[str]:
    """Copy in one direction; both ends are this machine. Returns what was skipped."""
    if way == "in":
        report = copy_in(guest.session, str(source), str(target), follow=follow, owner="0:0")
    else:
        report = copy_out(guest.session, str(source), str(target), follow=follow)
    return [item.path for item in report.skipped]


def test_a_folder_as_a_new_name(guest: Guest, way: str, tree: Path, tmp_path: Path) -> None:
    skipped = copy(guest, way, tree, tmp_path / "new")
    assert shape(tmp_path / "new") == shape(tree)
    assert [Path(path).name for path in skipped] == ["fifo"]


def test_a_folder_into_a_folder(guest: Guest, way: str, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    copy(guest, way, tree, tmp_path / "there")
    assert shape(tmp_path / "there" / "tree") == shape(tree)


def test_the_contents_of_a_folder(guest: Guest, way: str, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("kept")
    copy(guest, way, f"{tree}/.", tmp_path / "there")
    assert shape(tmp_path / "there") == {**shape(tree), "mine": shape(tmp_path / "there")["mine"]}


def test_the_contents_of_a_folder_as_a_new_one(
    guest: Guest, way: str, tree: Path, tmp_path: Path
) -> None:
    copy(guest, way, f"{tree}/.", tmp_path / "new")
    assert shape(tmp_path / "new") == shape(tree)


def test_a_file_as_new_over_and_into(guest: Guest, way: str, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "old").write_text("old")
    for target in ("new", "old", "there"):
        copy(guest, way, tree / "script", tmp_path / target)
    for target in ("new", "old", "there/script"):
        assert (tmp_path / target).read_text() == "#!/bin/sh\n"
        assert stat.S_IMODE((tmp_path / target).stat().st_mode) == 0o750


def test_a_link_is_copied_as_one(guest: Guest, way: str, tree: Path, tmp_path: Path) -> None:
    copy(guest, way, tree / "link", tmp_path / "new")
    assert (tmp_path / "new").readlink() == Path("inner/big")


def test_following_a_link(guest: Guest, way: str, tree: Path, tmp_path: Path) -> None:
    copy(guest, way, tree / "link", tmp_path / "new", follow=True)
    assert not (tmp_path / "new").is_symlink()
    assert (tmp_path / "new").read_bytes() == (tree / "inner" / "big").read_bytes()


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("none", "new", "no such file or folder"),
        ("tree/script/", "new", "not a folder"),
        ("tree/script", "new/", "no such folder"),
        ("tree/script", "none/new", "no such folder"),
        ("tree", "tree/script", "cannot copy a folder onto a file"),
        ("tree/fifo", "new", "not a file, folder or symbolic link"),
    ],
)
def test_what_does_not_fit(
    guest: Guest, way: str, tree: Path, source: str, target: str, text: str
) -> None:
    before = shape(tree.parent)
    with pytest.raises(UserError, match=text):
        copy(guest, way, f"{tree.parent}/{source}", f"{tree.parent}/{target}")
    assert shape(tree.parent) == before


def test_a_folder_is_not_replaced_by_a_file(
    guest: Guest, way: str, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "there" / "script").mkdir(parents=True)
    with pytest.raises(SbxError, match="folder is in the way"):
        copy(guest, way, tree / "script", tmp_path / "there")


def test_the_owner_inside(guest: Guest, tree: Path, tmp_path: Path) -> None:
    copy_in(guest.session, str(tree), str(tmp_path / "new"), owner="1234:567")
    for path in [tmp_path / "new", *(tmp_path / "new").rglob("*")]:
        assert (path.lstat().st_uid, path.lstat().st_gid) == (1234, 567)


def test_special_bits_stay_inside(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("x")
    (tmp_path / "tool").chmod(0o6755)
    copy_out(guest.session, str(tmp_path / "tool"), str(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755


def test_a_link_in_the_target_is_not_followed(guest: Guest, way: str, tmp_path: Path) -> None:
    source, target, outside = tmp_path / "source", tmp_path / "target", tmp_path / "outside"
    for folder in (source / "a", target, outside):
        folder.mkdir(parents=True)
    (source / "a" / "file").write_text("x")
    (target / "a").symlink_to(outside)
    with pytest.raises(SbxError):
        copy(guest, way, f"{source}/.", target)
    assert list(outside.iterdir()) == []


def test_a_large_file_is_exact(guest: Guest, way: str, tmp_path: Path) -> None:
    data = os.urandom(10 << 20)
    (tmp_path / "big").write_bytes(data)
    copy(guest, way, tmp_path / "big", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_many_files(guest: Guest, way: str, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(2000):
        (tmp_path / "many" / f"{number}").write_text(str(number))
    copy(guest, way, tmp_path / "many", tmp_path / "copy")
    assert shape(tmp_path / "copy") == shape(tmp_path / "many")


def test_stat(guest: Guest, tree: Path) -> None:
    kinds: list[PathKind | None] = []
    for name in ("inner", "script", "fifo", "none", "script/below", "dangling"):
        with guest.session() as session:
            kinds.append(session.stat(str(tree / name)))
    assert kinds == [PathKind.FOLDER, PathKind.FILE, PathKind.OTHER, None, None, None]
    with guest.session() as session:
        assert session.stat(str(tree / "link"), follow=False) is PathKind.LINK


def test_errors_of_the_guest_are_sentences(guest: Guest, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with guest.session() as session, pytest.raises(UserError, match="no such file or directory"):
        session.get(GetRequest(path="/no/such"), TreeReceiver(fd, name="x"))
    os.close(fd)
    with guest.session() as session, pytest.raises(UserError, match="unable to find user"):
        session.put(PutRequest(path="/", owner="nobody-such"), lambda _tree: None, follow=False)
