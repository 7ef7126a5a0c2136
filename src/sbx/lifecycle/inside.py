# SPDX-License-Identifier: Apache-2.0
"""Commands that we run in a sandbox for ourselves: bounded in time, and in what is kept."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Self

from sbx.agent.session import EndKind, ExecEnd, ExecRequest, Session, Streams
from sbx.lifecycle.session import open_session
from sbx.store.paths import Paths

_TAIL_BYTES = 8192
_READ_BYTES = 1 << 16
OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run."""

    argv: Sequence[str]
    user: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    stdin: bytes = b""
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How it ended."""

    status: int | None  # None: it was cut off
    output: str  # the end of what it printed
    timed_out: bool = False

    @property
    def why(self) -> str:
        """What a status other than zero means, for a message."""
        if self.timed_out:
            return "it did not end in time"
        return "the sandbox is gone" if self.status is None else f"status {self.status}"


@dataclass(slots=True, kw_only=True)
class Sink:
    """A file for the standard output of a command, up to a bound."""

    file: IO[bytes]
    limit_bytes: int
    is_full: bool = False
    taken_bytes: int = 0

    def take(self, data: bytes) -> bool:
        """Write, or refuse what is beyond the bound."""
        self.taken_bytes += len(data)
        self.is_full = self.taken_bytes > self.limit_bytes
        if not self.is_full:
            self.file.write(data)
        return not self.is_full


def run_inside(
    where: Paths,
    name: str,
    command: Command,
    on_line: OnLine | None = None,
    *,
    sink: Sink | None = None,
    every_line: bool = False,
) -> Done:
    """Run a command in a running sandbox to its end; its standard output goes to `sink`, if given.

    `on_line` hears the newest line now and then, or each.

    Raises:
        TransientError: the sandbox cannot be reached.
    """
    late = threading.Event()
    with open_session(where, name) as lease, tempfile.TemporaryFile() as given:
        given.write(command.stdin)
        given.seek(0)

        def cut() -> None:
            late.set()
            with contextlib.suppress(OSError):
                lease.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(command.timeout_s, cut)
        timer.start()
        try:
            with _Tail(on_line, every_line=every_line) as tail, _output(sink, tail) as output:
                end = Session(lease.sock, watch=lease.watch).exec(
                    _request(command),
                    Streams(stdin=given.fileno(), stdout=output, stderr=tail.fileno()),
                )
        finally:
            timer.cancel()
    return _done(end, tail.text, timed_out=late.is_set())


def _request(command: Command) -> ExecRequest:
    return ExecRequest(
        argv=tuple(command.argv),
        env=dict(command.env),
        user=command.user,
        workdir="/",
        stdin=bool(command.stdin),
    )


def _done(end: ExecEnd, output: str, *, timed_out: bool) -> Done:
    match end.kind:
        case EndKind.EXITED | EndKind.SIGNALED:
            return Done(status=end.exit_status, output=output)
        case EndKind.FAILED:
            return Done(status=end.status, output=end.message or output)
        case EndKind.DETACHED | EndKind.LOST:
            return Done(status=None, output=output, timed_out=timed_out)


@contextlib.contextmanager
def _output(sink: Sink | None, tail: _Tail) -> Generator[int]:
    """The descriptor for standard output: that of `tail`, or a pipe to the sink."""
    if sink is None:
        yield tail.fileno()
        return
    read, write = os.pipe2(os.O_CLOEXEC)

    def copy() -> None:
        try:
            while (data := os.read(read, _READ_BYTES)) and sink.take(data):
                pass
        finally:
            os.close(read)  # a writer that goes on gets EPIPE

    reader = threading.Thread(target=copy)
    reader.start()
    try:
        yield write
    finally:
        os.close(write)
        reader.join()


class _Tail:
    """A pipe whose reader hands over lines and keeps the end of what came."""

    def __init__(self, on_line: OnLine | None, *, every_line: bool) -> None:
        self._on_line = on_line
        self._every_line = every_line
        self._kept = b""
        self._line = b""
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._reader = threading.Thread(target=self._pump)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._write)
        self._reader.join()
        os.close(self._read)

    def fileno(self) -> int:
        return self._write

    @property
    def text(self) -> str:
        """The end of what was printed."""
        return self._kept.decode(errors="replace").strip()

    def _pump(self) -> None:
        while data := os.read(self._read, _READ_BYTES):
            self._kept = (self._kept + data)[-_TAIL_BYTES:]
            if self._on_line is None:
                continue
            *lines, self._line = (self._line + data).split(b"\n")
            self._line = self._line[-_TAIL_BYTES:]
            if self._every_line:
                for line in lines:
                    self._on_line(line.decode(errors="replace").rstrip("\r"))
            elif lines and (last := lines[-1].decode(errors="replace").strip()):
                self._on_line(last)
