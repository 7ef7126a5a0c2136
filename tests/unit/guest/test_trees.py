# SPDX-License-Identifier: Apache-2.0
"""Copy-in as the guest takes it: its own receiver keeps the same rules as the host's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.guest.trees import MAX_DEPTH, TreeWriter
from sbx.guest.wire import (
    DATA,
    ENTER,
    FILE,
    FILE_END,
    HEADER,
    LEAVE,
    LINK,
    TREE_END,
    Json,
    WireError,
    message,
)

Step = tuple[int, Json | bytes]
FACTS: Json = {"mode": 0o755, "mtime_ns": 0, "size": 1}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    for name in ("target", "outside"):
        (tmp_path / name).mkdir()
    fd = os.open(tmp_path / "target", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def write(fd: int, *steps: Step) -> None:
    writer = TreeWriter(fd, None)
    try:
        for kind, body in steps:
            payload = message(kind, body)[HEADER.size :] if isinstance(body, dict) else body
            writer.take(kind, payload)
    finally:
        writer.close()


def test_a_tree(target: int, tmp_path: Path) -> None:
    steps: list[Step] = [
        (ENTER, entry("d")),
        (FILE, entry("f")),
        (DATA, b"x"),
        (FILE_END, b""),
        (LEAVE, b""),
        (LINK, {"name": "l", "target": "d/f"}),
        (TREE_END, b""),
    ]
    write(target, *steps)
    assert (tmp_path / "target" / "l").read_text() == "x"


@pytest.mark.parametrize("name", ["..", "", "/", "a/b", "/etc/x"])
def test_names_that_lead_elsewhere(target: int, name: str) -> None:
    for kind in (ENTER, FILE, LINK):
        with pytest.raises(WireError):
            write(target, (kind, {**entry(name), "target": "x"}))


def test_a_link_is_not_entered(target: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        write(target, (LINK, {"name": "d", "target": "../outside"}), (ENTER, entry("d")))
    assert list((tmp_path / "outside").iterdir()) == []


def entry(name: str) -> Json:
    return {"name": name, **FACTS}


@pytest.mark.parametrize(
    "steps",
    [
        [(LEAVE, b"")],
        [(FILE_END, b"")],
        [(DATA, b"x")],
        [(FILE, entry("f")), (DATA, b"xy")],
        [(FILE, entry("f")), (TREE_END, b"")],
        [(ENTER, entry("d")), (TREE_END, b"")],
        [(ENTER, entry(f"{n}")) for n in range(MAX_DEPTH + 2)],
    ],
)
def test_what_is_no_tree(target: int, steps: list[Step]) -> None:
    with pytest.raises(WireError):
        write(target, *steps)
