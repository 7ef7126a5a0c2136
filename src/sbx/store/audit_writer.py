# SPDX-License-Identifier: Apache-2.0
"""Writing an audit log: a bounded queue before one thread, so that nobody waits for the disk.

What is allowed does not depend on it (docs/decisions/0009-log-and-traffic.md): while the log cannot
be written, entries wait; when too many do, they are counted, and the count is logged later.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sbx.store import audit
from sbx.store.audit import Entry, Head, Kind, Log, Lost, Opened, Record, Repaired
from sbx.store.audit_reader import read_head
from sbx.system import codec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept."""

    waiting: int = 20_000  # entries that wait for the disk
    generation_bytes: int = 4 << 20
    generations: int = 8
    retry_s: float = 5.0  # when the disk refused
    close_s: float = 5.0  # for what waits at the end


class AuditWriter:
    """The one writer of a log. `record` is quick and never fails; `close` writes what waits."""

    def __init__(
        self,
        where: Log,
        *,
        bounds: Bounds | None = None,
        on_problem: Callable[[str | None], None] | None = None,
    ) -> None:
        self._log = where
        self._bounds = bounds or Bounds()
        self._on_problem = on_problem
        self._wake = threading.Condition()
        self._waiting: list[tuple[datetime, Entry]] = []
        self._lost: Lost | None = None
        self._closing = False
        self.problem: str | None = None  # why it cannot be written now
        self._file: _Lines | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def record(self, entry: Entry) -> None:
        """Log an entry, in the order of the calls."""
        now = datetime.now(UTC)
        with self._wake:
            if len(self._waiting) < self._bounds.waiting:
                self._waiting.append((now, entry))
            else:
                lost = self._lost or Lost(blocked=0, allowed=0, since=now)
                self._lost = replace(
                    lost,
                    blocked=lost.blocked + (not entry.allowed),
                    allowed=lost.allowed + entry.allowed,
                )
            self._wake.notify()

    def close(self) -> None:
        """Write what waits, for a bounded time, and end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(self._bounds.close_s)
        if self._thread.is_alive() or self._waiting or self._lost:
            log.error("audit log of sandbox %s: the last entries are not in it", self._log.sandbox)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._closing):
                    self._wake.wait()
                batch, lost = self._waiting, self._lost
                self._waiting, self._lost = [], None
                closing = self._closing
            failed = (batch or lost) and not self._try(batch, lost)
            if closing:
                self._end()
                return
            if failed:
                with self._wake:
                    if not self._closing:
                        self._wake.wait_for(lambda: self._closing, self._bounds.retry_s)

    def _try(self, batch: list[tuple[datetime, Entry]], lost: Lost | None) -> bool:
        """Write a batch; on failure it goes back to the front of the queue."""
        try:
            if self._file is None:
                self._file = _Lines(self._log, self._bounds)
            self._file.write(batch, lost)
        except OSError as error:
            self._put_back(batch, lost)
            self._tell(error.strerror or str(error))
            return False
        self._tell(None)
        return True

    def _put_back(self, batch: list[tuple[datetime, Entry]], lost: Lost | None) -> None:
        with self._wake:
            self._waiting = batch + self._waiting
            if lost is not None:
                newer = self._lost or Lost(blocked=0, allowed=0, since=lost.since)
                self._lost = Lost(
                    blocked=lost.blocked + newer.blocked,
                    allowed=lost.allowed + newer.allowed,
                    since=lost.since,
                )

    def _tell(self, problem: str | None) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if problem is None:
            log.info("audit log of sandbox %s is written again", self._log.sandbox)
        else:
            log.error("audit log of sandbox %s cannot be written: %s", self._log.sandbox, problem)
        if self._on_problem is not None:
            self._on_problem(problem)

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()


class _Lines:
    """The generation that is being written."""

    def __init__(self, where: Log, bounds: Bounds) -> None:
        self._log = where
        self._bounds = bounds
        self._size = 0
        where.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A log whose head is gone goes on from its last line; verifying it tells.
        self._head = read_head(where) or Head()
        existing = where.generations()
        self._head = replace(self._head, last=existing[-1] if existing else self._head.last)
        self._fd = self._open(self._head.last)
        try:
            self._begin()
        except BaseException:
            os.close(self._fd)
            raise

    def _begin(self) -> None:
        """Go on where the last writer ended, however it did."""
        dropped = self._repair()
        if self._size == 0:
            self._append([self._opened()])
        if dropped:
            repaired = Repaired(dropped_bytes=dropped)
            seq = self._head.seq + 1
            self._append([Record(seq=seq, at=datetime.now(UTC), repaired=repaired)])

    def write(self, batch: list[tuple[datetime, Entry]], lost: Lost | None) -> None:
        """Append all of it, or nothing (OSError)."""
        if self._size > self._bounds.generation_bytes:
            self._rotate()
        number = self._head.seq
        records = [
            Record(seq=number + place, at=at, entry=entry)
            for place, (at, entry) in enumerate(_merged(batch), 1)
        ]
        if lost is not None:
            seq = number + len(records) + 1
            records.append(Record(seq=seq, at=datetime.now(UTC), lost=lost))
        self._append(records)

    def close(self) -> None:
        """The last bytes reach the disk."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            log.warning("audit log of sandbox %s: %s", self._log.sandbox, error.strerror)
        os.close(self._fd)

    def _open(self, number: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._log.generation(number), flags, 0o600)

    def _append(self, records: Iterable[Record]) -> None:
        found, seq, lines = self._head.hash, self._head.seq, list[bytes]()
        for record in records:
            line, found = audit.encode(record, found)
            lines.append(line)
            seq = record.seq
        data = b"".join(lines)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._size)  # half a batch is none: it is written again later
            raise
        self._size += len(data)
        self._head = replace(self._head, seq=seq, hash=found)
        self._write_head()

    def _write_head(self) -> None:
        """Replace `head.json`; it may be behind the lines, so a failure is only logged."""
        path = self._log.folder / audit.HEAD
        temp = path.with_name(f".{path.name}")
        try:
            temp.write_text(json.dumps(codec.to_json(self._head)) + "\n", encoding="utf-8")
            temp.replace(path)
        except OSError as error:
            log.warning("head of the audit log not written: %s", error.strerror)

    def _rotate(self) -> None:
        """Begin a generation; then drop the oldest, after the head says that it is not missed."""
        os.fdatasync(self._fd)
        number = self._head.last + 1
        fd = self._open(number)
        os.close(self._fd)
        self._fd, self._size = fd, 0
        first = max(self._head.first, number - self._bounds.generations + 1)
        dropped = range(self._head.first, first)
        self._head = replace(self._head, last=number, first=first)
        self._append([self._opened()])
        for old in dropped:
            self._log.generation(old).unlink(missing_ok=True)

    def _opened(self) -> Record:
        return Record(
            seq=self._head.seq + 1,
            at=datetime.now(UTC),
            opened=Opened(
                version=audit.VERSION,
                generation=self._head.last,
                sandbox=self._log.sandbox,
                sandbox_id=self._log.sandbox_id,
                previous=self._head.hash,
            ),
        )

    def _repair(self) -> int:
        """Cut off a line that was not finished; how many bytes that were.

        The head is set to the last whole line, which may be beyond what `head.json` says. If that
        line is damaged, somebody changed it: the log goes on in a new generation, and verifying
        it tells.
        """
        size = os.fstat(self._fd).st_size
        data = os.pread(self._fd, size, 0)
        self._size = data.rfind(b"\n") + 1
        if self._size < size:
            os.ftruncate(self._fd, self._size)
        if self._size:
            line = data[: self._size - 1].rpartition(b"\n")[2]
            parts, record = audit.split(line), audit.parse(line)
            if parts is None or record is None:
                log.error("the end of the audit log of %s is damaged", self._log.sandbox)
                self._rotate()
            else:
                self._head = replace(self._head, seq=record.seq, hash=parts[1])
        return size - len(data[: data.rfind(b"\n") + 1])


def _merged(batch: list[tuple[datetime, Entry]]) -> list[tuple[datetime, Entry]]:
    """Equal look-ups of one batch as one entry with a count: programs ask again and again."""
    found: list[tuple[datetime, Entry]] = []
    places: dict[Entry, int] = {}
    for at, entry in batch:
        if entry.kind is Kind.DNS and (place := places.get(entry)) is not None:
            first, seen = found[place]
            found[place] = (first, replace(seen, count=seen.count + 1))
            continue
        if entry.kind is Kind.DNS:
            places[entry] = len(found)
        found.append((at, entry))
    return found
