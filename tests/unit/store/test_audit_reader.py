# SPDX-License-Identifier: Apache-2.0
"""Verifying: every way to tamper with a log that a chain can show; and following a log."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.store import audit
from sbx.store.audit import Entry, Kind, Log
from sbx.store.audit_reader import Tail, records, verify
from sbx.store.audit_writer import AuditWriter, Bounds

ENTRY = Entry(kind=Kind.NETWORK, allowed=True, outcome="passed", proxy="transparent")
SMALL = Bounds(generation_bytes=600, generations=100)
Lines = list[bytes]


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Log:
    """A log of several generations."""
    where = Log(folder=tmp_path / "one@000000000000", sandbox="one", sandbox_id="000000000000")
    for number in range(12):
        write(where, replace(ENTRY, host=f"h{number}"))
    assert len(where.generations()) >= 4
    assert verify(where).problems == []
    return where


def write(where: Log, *entries: Entry) -> None:
    writer = AuditWriter(where, bounds=SMALL)
    for entry in entries:
        writer.record(entry)
    writer.close()


def edit(where: Log, number: int, change: Callable[[Lines], Lines]) -> None:
    path = where.generation(number)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def texts(where: Log) -> list[str]:
    return [f"{p.generation}:{p.line} {p.text}" for p in verify(where).problems]


def changed(line: bytes) -> bytes:
    return line.replace(b'"allowed":true', b'"allowed":false')


def rehashed(line: bytes) -> bytes:
    """A changed line whose own hash is made to fit whatever was before it."""
    data = json.loads(line)
    parts = audit.split(changed(line)[:-1])
    assert parts is not None
    return parts[0][:-1] + f',"hash":"{audit.chain(data["hash"], parts[0])}"}}\n'.encode()


TAMPERINGS: list[tuple[Callable[[Lines], Lines], str]] = [
    (lambda x: [x[0], changed(x[1]), *x[2:]], "2:2 the line, or the one before"),
    (lambda x: [x[0], rehashed(x[1]), *x[2:]], "2:2 the line, or the one before"),
    (lambda x: [x[0], *x[2:]], "2:2 1 lines before it are missing"),
    (lambda x: [x[0], x[2], x[1], *x[3:]], "2:2 1 lines before it are missing"),
    (lambda x: [x[0], x[1], x[1], *x[2:]], "2:3 out of order"),
    (lambda x: [x[0], b"rubbish\n", *x[2:]], "2:2 the line is damaged"),
    (lambda x: x[:-1], "3:1 1 lines before it are missing"),
    (lambda x: [], "3:1"),
]


@pytest.mark.parametrize(("change", "problem"), TAMPERINGS)
def test_what_was_done_to_a_line_is_found(
    where: Log, change: Callable[[Lines], Lines], problem: str
) -> None:
    edit(where, 2, change)
    found = texts(where)
    assert found
    assert found[0].startswith(problem)


def test_a_missing_generation_is_found(where: Log) -> None:
    where.generation(2).unlink()
    assert "2:None the file is missing" in texts(where)
    where.generation(1).unlink()
    assert "1:None the file is missing" in texts(where)


def test_generations_that_changed_places_are_found(where: Log) -> None:
    second, third = where.generation(2).read_bytes(), where.generation(3).read_bytes()
    where.generation(2).write_bytes(third)
    where.generation(3).write_bytes(second)
    assert any("out of order" in text for text in texts(where))


def test_a_cut_off_end_is_found(where: Log) -> None:
    last = where.generations()[-1]
    edit(where, last, lambda lines: lines[:-1])
    assert [t.partition(" ")[2] for t in texts(where)] == ["the last 1 lines are missing"]
    where.generation(last).unlink()
    assert any("the file is missing" in text for text in texts(where))


def test_an_unfinished_line_is_a_note(where: Log) -> None:
    with where.generation(where.generations()[-1]).open("ab") as file:
        file.write(b'{"seq":99')
    verdict = verify(where)
    assert verdict.problems == []
    assert "unfinished line" in verdict.notes[0]


def test_a_missing_head_is_found(where: Log) -> None:
    (where.folder / audit.HEAD).unlink()
    assert "`head.json` is missing or damaged" in texts(where)[0]


def test_a_head_that_names_another_line(where: Log) -> None:
    path = where.folder / audit.HEAD
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "hash": "f" * 64}))
    assert "is not the one that the head names" in texts(where)[0]


def test_a_head_behind_the_lines_is_fine(where: Log) -> None:
    head = (where.folder / audit.HEAD).read_bytes()
    write(where, ENTRY)
    (where.folder / audit.HEAD).write_bytes(head)
    assert texts(where) == []


def test_the_hash_of_the_last_line_is_told(where: Log) -> None:
    data = json.loads((where.folder / audit.HEAD).read_text())
    verdict = verify(where)
    assert verdict.hash == data["hash"]
    assert verdict.entries == data["seq"]


def test_following(where: Log) -> None:
    tail = Tail(where)
    assert [r.seq for r in tail.read()] == [r.seq for r in records(where)]
    assert list(tail.read()) == []
    for number in range(5):  # over the end of a generation
        write(where, replace(ENTRY, host=f"new{number}"))
    assert [r.entry.host for r in tail.read() if r.entry] == [f"new{n}" for n in range(5)]
    assert list(tail.read()) == []


def test_following_reads_whole_lines_only(where: Log) -> None:
    tail = Tail(where)
    list(tail.read())
    write(where, replace(ENTRY, host="new"))
    path = where.generation(where.generations()[-1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert [r for r in tail.read() if r.entry and r.entry.host == "new"] == []
    path.write_bytes(whole)
    assert [r.entry.host for r in tail.read() if r.entry] == ["new"]


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    where = Log(folder=tmp_path / "x@0", sandbox="x", sandbox_id="0")
    assert list(records(where)) == []
    assert list(Tail(where).read()) == []
