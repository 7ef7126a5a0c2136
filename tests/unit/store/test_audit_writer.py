# SPDX-License-Identifier: Apache-2.0
"""Writing the audit log: in order, rotated, repaired, and never in anybody's way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.store.audit import Entry, Kind, Log, Record
from sbx.store.audit_reader import records, verify
from sbx.store.audit_writer import AuditWriter, Bounds
from tests.kit.installation import ROOT

ENTRY = Entry(kind=Kind.NETWORK, allowed=True, outcome="passed", proxy="transparent")
LOOKUP = Entry(kind=Kind.DNS, allowed=False, outcome="blocked", proxy="network", host="a.com")


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Log:
    return Log(folder=tmp_path / "one@000000000000", sandbox="one", sandbox_id="000000000000")


def write(where: Log, *entries: Entry, bounds: Bounds | None = None) -> None:
    writer = AuditWriter(where, bounds=bounds)
    for entry in entries:
        writer.record(entry)
    writer.close()


def numbered(count: int) -> list[Entry]:
    return [replace(ENTRY, host=f"h{number}") for number in range(count)]


def hosts(where: Log) -> list[str]:
    return [r.entry.host for r in records(where) if r.entry]


def test_entries_are_kept_in_order(where: Log) -> None:
    write(where, *numbered(100))
    assert hosts(where) == [f"h{n}" for n in range(100)]
    assert [r.seq for r in records(where)] == list(range(1, 102))
    assert verify(where).problems == []
    assert where.folder.stat().st_mode & 0o077 == 0
    assert where.generation(1).stat().st_mode & 0o077 == 0


def test_a_writer_goes_on_where_the_last_one_ended(where: Log) -> None:
    for _ in range(3):
        write(where, *numbered(2))
    assert hosts(where) == ["h0", "h1"] * 3
    assert verify(where).problems == []


def test_without_entries_nothing_is_made(where: Log) -> None:
    write(where)
    assert not where.folder.exists()


def test_generations_are_bounded(where: Log) -> None:
    bounds = Bounds(generation_bytes=1000, generations=3)
    for _ in range(30):
        write(where, *numbered(3), bounds=bounds)
    assert len(where.generations()) == 3
    assert where.generations()[0] > 1
    verdict = verify(where)
    assert verdict.problems == []
    assert sum(where.generation(n).stat().st_size for n in where.generations()) < 6000


def test_equal_look_ups_of_one_moment_are_counted(
    where: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_first_write(monkeypatch)
    writer = AuditWriter(where)
    writer.record(ENTRY)
    gate.begun.wait()
    for entry in (LOOKUP, LOOKUP, replace(LOOKUP, host="b.com"), LOOKUP, ENTRY, ENTRY):
        writer.record(entry)
    gate.go.set()
    writer.close()
    found = [r.entry for r in records(where) if r.entry]
    assert [(e.host, e.count) for e in found] == [
        ("", 1),
        ("a.com", 3),
        ("b.com", 1),
        ("", 1),
        ("", 1),
    ]


class Gate:
    """Holds the writing thread at its first write."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()


def hold_first_write(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate, write_bytes = Gate(), os.write

    def held(fd: int, data: bytes) -> int:
        gate.begun.set()
        gate.go.wait()
        return write_bytes(fd, data)

    monkeypatch.setattr(os, "write", held)
    return gate


def test_nobody_waits_and_what_is_too_much_is_counted(
    where: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_first_write(monkeypatch)
    writer = AuditWriter(where, bounds=Bounds(waiting=5))
    writer.record(ENTRY)
    gate.begun.wait()
    for entry in numbered(8):
        writer.record(entry)
    writer.record(replace(ENTRY, allowed=False))
    gate.go.set()
    writer.close()
    assert hosts(where) == ["", "h0", "h1", "h2", "h3", "h4"]
    (lost,) = (r.lost for r in records(where) if r.lost)
    assert (lost.allowed, lost.blocked) == (3, 1)
    assert verify(where).problems == []


class FullDisk:
    """`os.write` on a disk that takes some bytes more, until there is space again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room: int | None = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if self.room is None:
            return self._write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        size = self._write(fd, data[: self.room])
        self.room -= size
        return size


def test_a_full_disk_is_told_and_what_waits_is_written_later(
    where: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(where, *numbered(2))
    disk = FullDisk(monkeypatch, room=100)
    said: list[str | None] = []
    told = threading.Event()

    def on_problem(problem: str | None) -> None:
        said.append(problem)
        told.set()

    writer = AuditWriter(where, bounds=Bounds(retry_s=0.01), on_problem=on_problem)
    writer.record(replace(ENTRY, host="later"))
    assert told.wait(5)
    assert writer.problem == "No space left on device"
    assert verify(where).problems == []  # half a line is none
    told.clear()
    disk.room = None
    assert told.wait(5)
    writer.close()
    assert said == ["No space left on device", None]
    assert hosts(where) == ["h0", "h1", "later"]
    assert verify(where).problems == []


def test_a_disk_that_stays_full_does_not_hold_up_the_end(
    where: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, room=0)
    writer = AuditWriter(where)
    writer.record(ENTRY)
    writer.close()
    assert hosts(where) == []


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_line_that_was_not_finished_is_repaired_and_told(where: Log, cut: int) -> None:
    write(where, *numbered(3))
    os.truncate(where.generation(1), where.generation(1).stat().st_size - cut)
    left = where.generation(1).read_bytes().rpartition(b"\n")[2]
    write(where, replace(ENTRY, host="new"))
    assert hosts(where) == ["h0", "h1", "new"]
    (repaired,) = (r.repaired for r in records(where) if r.repaired)
    assert repaired.dropped_bytes == len(left) > 0


def test_a_damaged_end_does_not_stop_the_log(where: Log) -> None:
    write(where, *numbered(2))
    with where.generation(1).open("ab") as file:
        file.write(b"rubbish\n")
    write(where, replace(ENTRY, host="new"))
    assert hosts(where) == ["h0", "h1", "new"]
    assert where.generations() == [1, 2]
    assert [(p.generation, p.text) for p in verify(where).problems] == [(1, "the line is damaged")]


_PROGRAM = """
import sys
from pathlib import Path
from sbx.store.audit import Entry, Kind, Log
from sbx.store.audit_writer import AuditWriter
writer = AuditWriter(Log(folder=Path(sys.argv[1]), sandbox="one", sandbox_id="000000000000"))
entry = Entry(kind=Kind.NETWORK, allowed=True, outcome="passed", proxy="transparent", host="h")
print("up", flush=True)
while True:
    writer.record(entry)
"""


def test_a_killed_writer_leaves_a_log_that_goes_on(where: Log) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(where.folder)],
        stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT / "src")},
    ) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        first = next(wait_for_lines(where))
        child.send_signal(signal.SIGKILL)
    assert first.opened is not None
    write(where, replace(ENTRY, host="after"))
    assert hosts(where)[-1] == "after"
    assert verify(where).problems == []


def wait_for_lines(where: Log) -> Iterator[Record]:
    found: list[Record] = []
    while not found:
        found = list(records(where)) if where.folder.exists() else []
    yield from found
