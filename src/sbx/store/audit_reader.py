# SPDX-License-Identifier: Apache-2.0
"""Reading an audit log while it may be written: its entries, its end, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sbx.errors import HostError
from sbx.store import audit
from sbx.store.audit import FIRST_HASH, Head, Log, Record
from sbx.system import codec
from sbx.system.files import read_bounded

_GENERATION_LIMIT_BYTES = 64 << 20  # a batch may carry a generation over its bound
_HEAD_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it was written."""

    generation: int
    line: int | None  # from 1; None: about the whole file
    text: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What verifying a log has found."""

    log: Log
    entries: int = 0  # lines that were read
    hash: str = FIRST_HASH  # of the last one: whoever keeps it elsewhere can tell a forgery
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[str] = field(default_factory=list[str])


def read_head(where: Log) -> Head | None:
    """The stored head, or None if there is none that can be read."""
    try:
        return codec.loads(
            Head, read_bounded(where.folder / audit.HEAD, limit_bytes=_HEAD_LIMIT_BYTES)
        )
    except (OSError, HostError, codec.CodecError):
        return None


def records(where: Log) -> Iterator[Record]:
    """Every line that can be read, oldest first."""
    for _number, data in _generations(where):
        for line in data.split(b"\n"):
            if (found := audit.parse(line)) is not None:
                yield found


class Tail:
    """The lines of a log as they come: those that are there, then the new ones."""

    def __init__(self, where: Log) -> None:
        self._log = where
        self._generation = 0
        self._offset = 0

    def read(self) -> Iterator[Record]:
        """What was not read yet, whole lines only."""
        try:
            numbers = self._log.generations()
        except FileNotFoundError:
            return
        for number in numbers:
            if number < self._generation:
                continue
            if number > self._generation:
                self._generation, self._offset = number, 0
            yield from self._rest(number)

    def _rest(self, number: int) -> Iterator[Record]:
        try:
            with self._log.generation(number).open("rb") as file:
                file.seek(self._offset)
                data = file.read(_GENERATION_LIMIT_BYTES)
        except FileNotFoundError:  # dropped meanwhile
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.split(b"\n"):
            if (found := audit.parse(line)) is not None:
                yield found


def verify(where: Log) -> Verdict:
    """Check every line against the one before it, and the whole against the head."""
    verdict = Verdict(log=where)
    head = read_head(where)  # before the lines: these may only be more
    check = _Chain(verdict, head)
    seen: list[int] = []
    for number, data in _generations(where):
        seen.append(number)
        check.generation(number, data)
    # A generation that was dropped while we read is not missed: the head says so by now.
    head = head and (read_head(where) or head)
    if head is None:
        text = f"`{audit.HEAD}` is missing or damaged: whether the end was cut off is not known"
        verdict.problems.append(Problem(generation=0, line=None, text=text))
    else:
        expected = range(head.first, max([head.last, *seen]) + 1)
        for number in sorted(set(expected) - set(seen)):
            text = "the file is missing"
            verdict.problems.append(Problem(generation=number, line=None, text=text))
    check.end()
    return verdict


class _Chain:
    """The state while lines are followed."""

    def __init__(self, verdict: Verdict, head: Head | None) -> None:
        self._verdict = verdict
        self._head = head
        self._previous: str | None = None  # None: the first line that is there says it
        self._seq = 0
        self._head_seen = False
        self._number = 0

    def generation(self, number: int, data: bytes) -> None:
        self._number = number
        lines = data.split(b"\n")
        if lines[-1]:
            text = f"generation {number} ends in an unfinished line, which is not counted"
            self._verdict.notes.append(text)
        for place, line in enumerate(lines[:-1], 1):
            self._line(place, line)

    def end(self) -> None:
        head = self._head
        if head is None or self._head_seen or head.seq == 0:
            return
        missing = head.seq - self._seq
        text = (
            f"the last {missing} lines are missing"
            if missing > 0
            else f"line {head.seq} of the log is not the one that the head names"
        )
        self._problem(None, text)

    def _line(self, place: int, line: bytes) -> None:
        self._verdict.entries += 1
        parts = audit.split(line)
        record = audit.parse(line)
        if parts is None or record is None:
            self._problem(place, "the line is damaged")
            self._previous, self._seq = None, 0  # the chain begins anew behind it
            return
        body, found = parts
        if self._previous is None:
            # Where the chain begins, or begins again behind a damaged line.
            self._previous = record.opened.previous if record.opened else None
        if self._seq and record.seq != self._seq + 1:
            self._problem(place, self._gap(record.seq))
        elif self._previous is not None and audit.chain(self._previous, body) != found:
            self._problem(place, "the line, or the one before it, was changed")
        if self._head and record.seq == self._head.seq and found == self._head.hash:
            self._head_seen = True
        self._previous, self._seq, self._verdict.hash = found, record.seq, found

    def _gap(self, seq: int) -> str:
        if seq > self._seq + 1:
            return f"{seq - self._seq - 1} lines before it are missing"
        return f"out of order: it is number {seq}, behind number {self._seq}"

    def _problem(self, place: int | None, text: str) -> None:
        self._verdict.problems.append(Problem(generation=self._number, line=place, text=text))


def _generations(where: Log) -> Iterator[tuple[int, bytes]]:
    try:
        numbers = where.generations()
    except FileNotFoundError:
        return
    for number in numbers:
        try:
            yield (
                number,
                read_bounded(where.generation(number), limit_bytes=_GENERATION_LIMIT_BYTES),
            )
        except FileNotFoundError:
            continue  # dropped meanwhile
