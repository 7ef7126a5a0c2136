# SPDX-License-Identifier: Apache-2.0
"""Copy-out from a hostile guest: nothing it sends gets out of the destination."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.agent.trees import MAX_DEPTH, TreeReceiver
from sbx.protocol.fields import encode_message
from sbx.protocol.frames import HEADER, FrameType, ProtocolError

Step = tuple[FrameType, dict[str, object] | bytes | None]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "target").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("kept")
    fd = os.open(tmp_path / "target", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def folder(name: str, mode: int = 0o755) -> Step:
    return FrameType.ENTER, {"name": name, "mode": mode, "mtime_ns": 0}


def file(name: str, size: int = 0, mode: int = 0o644) -> Step:
    return FrameType.FILE, {"name": name, "mode": mode, "mtime_ns": 0, "size": size}


def link(name: str, target: str) -> Step:
    return FrameType.LINK, {"name": name, "target": target}


def data(content: bytes) -> Step:
    return FrameType.DATA, content


LEAVE: Step = (FrameType.LEAVE, None)
FILE_END: Step = (FrameType.FILE_END, None)
END: Step = (FrameType.TREE_END, None)


def receive(fd: int, *steps: Step, name: str | None = None) -> TreeReceiver:
    receiver = TreeReceiver(fd, name=name)
    try:
        for kind, body in steps:
            if isinstance(body, dict):
                payload = encode_message(kind, body)[HEADER.size :]
            else:
                payload = body or b""
            if not receiver.take(kind, payload):
                return receiver
    finally:
        receiver.close()
    raise AssertionError("the tree has no end")


def outside(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "outside").iterdir()}


def test_a_tree(target: int, tmp_path: Path) -> None:
    steps = [folder("d", 0o711), file("f", 3), data(b"ab"), data(b"c"), FILE_END, LEAVE]
    report = receive(target, *steps, link("l", "d/f"), END).report
    assert (report.entries, report.size_bytes) == (3, 3)
    assert (tmp_path / "target" / "l").read_text() == "abc"
    assert stat.S_IMODE((tmp_path / "target" / "d").stat().st_mode) == 0o711


@pytest.mark.parametrize("name", ["..", ".", "", "/", "a/b", "../x", "/etc/x", "x\0y", "n" * 256])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_names_that_lead_elsewhere(target: int, tmp_path: Path, name: str, kind: str) -> None:
    steps = {"folder": folder(name), "file": file(name), "link": link(name, "x")}
    with pytest.raises(ProtocolError):
        receive(target, steps[kind], END)
    assert list((tmp_path / "target").iterdir()) == []


def test_a_file_through_a_link_that_was_just_made(target: int, tmp_path: Path) -> None:
    steps = [link("d", "../outside"), folder("d"), file("secret", 1), data(b"x"), FILE_END, LEAVE]
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        receive(target, *steps, END)
    assert outside(tmp_path) == {"secret": "kept"}


def test_a_file_over_a_link_replaces_the_link(target: int, tmp_path: Path) -> None:
    steps = [link("f", "../outside/secret"), file("f", 1), data(b"x"), FILE_END]
    receive(target, *steps, END)
    assert outside(tmp_path) == {"secret": "kept"}
    assert (tmp_path / "target" / "f").read_text() == "x"


def test_a_link_that_was_there_before_is_not_followed(target: int, tmp_path: Path) -> None:
    (tmp_path / "target" / "d").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        receive(target, folder("d"), END)
    assert outside(tmp_path) == {"secret": "kept"}


def test_a_folder_is_never_emptied_for_a_file(target: int, tmp_path: Path) -> None:
    (tmp_path / "target" / "d").mkdir()
    (tmp_path / "target" / "d" / "mine").write_text("x")
    for step in (file("d"), link("d", "x")):
        with pytest.raises(IsADirectoryError):
            receive(target, step, END)
    assert (tmp_path / "target" / "d" / "mine").read_text() == "x"


def test_a_hard_linked_file_is_replaced_not_written_into(target: int, tmp_path: Path) -> None:
    os.link(tmp_path / "outside" / "secret", tmp_path / "target" / "f")
    receive(target, file("f", 1), data(b"x"), FILE_END, END)
    assert outside(tmp_path) == {"secret": "kept"}


def test_special_bits_are_dropped(target: int, tmp_path: Path) -> None:
    receive(target, file("f", mode=0o7777), FILE_END, folder("d", 0o7755), LEAVE, END)
    assert stat.S_IMODE((tmp_path / "target" / "f").stat().st_mode) == 0o777
    assert stat.S_IMODE((tmp_path / "target" / "d").stat().st_mode) == 0o755


def test_the_topmost_name_is_ours(target: int, tmp_path: Path) -> None:
    receive(target, folder("evil"), file("f"), FILE_END, LEAVE, END, name="mine")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["mine"]
    with pytest.raises(ProtocolError, match="more than the one"):
        receive(target, file("a"), FILE_END, file("b"), FILE_END, END, name="other")


@pytest.mark.parametrize(
    "steps",
    [
        [LEAVE],
        [FILE_END],
        [data(b"x")],
        [file("f", 1), data(b"xy")],
        [file("f", 1), file("g")],
        [file("f"), LEAVE],
        [file("f"), END],
        [folder("d"), END],
        [(FrameType.STDOUT, b"")],
        [file("f", -1)],
        [file("f", mode=0o10000)],
        [folder(f"{n}") for n in range(MAX_DEPTH + 2)],
    ],
)
def test_what_is_no_tree(target: int, steps: list[Step]) -> None:
    with pytest.raises(ProtocolError):
        receive(target, *steps, END)


def test_many_skipped_entries_are_counted_out(target: int) -> None:
    step: Step = (FrameType.SKIPPED, {"path": "/x", "reason": "r"})
    assert len(receive(target, *[step] * 500, END).report.skipped) == 100


KINDS = st.sampled_from([FrameType.ENTER, FrameType.FILE, FrameType.LINK, FrameType.LEAVE,
                         FrameType.DATA, FrameType.FILE_END])  # fmt: skip
NAMES = st.sampled_from(["a", "b", "..", "secret", "../outside", "/", "d"])


@given(st.lists(st.tuples(KINDS, NAMES), max_size=15))
def test_no_sequence_gets_out(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[FrameType, str]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("fuzz")
    (tmp_path / "target").mkdir()
    (tmp_path / "outside").mkdir()
    fd = os.open(tmp_path / "target", os.O_RDONLY | os.O_DIRECTORY)
    receiver = TreeReceiver(fd, name=None)
    for kind, name in moves:
        body: dict[str, object] = {
            "name": name,
            "mode": 0o755,
            "mtime_ns": 0,
            "size": 1,
            "target": "../outside",
        }
        payload = encode_message(kind, body)[HEADER.size :]
        small = kind in (FrameType.LEAVE, FrameType.FILE_END)
        try:
            receiver.take(kind, b"" if small else b"x" if kind is FrameType.DATA else payload)
        except (ProtocolError, OSError):
            break
    receiver.close()
    os.close(fd)
    assert list((tmp_path / "outside").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"target", "outside"}
