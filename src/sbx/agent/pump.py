# SPDX-License-Identifier: Apache-2.0
"""Moves bytes between the caller's streams and a running command, until it ends.

Knows nothing of terminal modes: the command line sets those. One poll loop, no threads.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sbx.agent.broken import broken
from sbx.agent.detach_keys import DetachMatcher
from sbx.agent.outputs import Output
from sbx.errors import PermanentError
from sbx.protocol.frames import (
    CHUNK_BYTES,
    EXEC_IN,
    WINDOW_BYTES,
    FrameDecoder,
    FrameType,
    ProtocolError,
    encode_frame,
)
from sbx.protocol.session import (
    Exit,
    Stream,
    encode_output_closed,
    encode_resize,
    encode_signal,
    parse_credit,
    parse_exit,
    parse_stream,
)

_HIGH_WATER_BYTES = 4 * CHUNK_BYTES
_MAX_CREDIT_BYTES = 1 << 30
_GOODBYE_S = 5.0
_SIGNAL_BASE = 128  # as in a shell


class EndKind(StrEnum):
    """How a session ended, seen from here."""

    EXITED = "exited"
    SIGNALED = "signaled"
    DETACHED = "detached"  # the command goes on
    LOST = "lost"  # the connection broke: the command's end is unknown
    FAILED = "failed"  # the command could not be started


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecEnd:
    """The end of a session."""

    kind: EndKind
    status: int = 0  # of EXITED and FAILED
    signal: int | None = None  # of SIGNALED
    message: str | None = None  # of FAILED; written by the guest: escape it before printing

    @property
    def exit_status(self) -> int:
        """What the calling program exits with."""
        match self.kind:
            case EndKind.EXITED | EndKind.FAILED:
                return self.status
            case EndKind.SIGNALED:
                return _SIGNAL_BASE + (self.signal or 0)
            case EndKind.DETACHED:
                return 0
            case EndKind.LOST:
                return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The caller's descriptors; they stay the caller's and keep their modes."""

    stdin: int | None
    stdout: int
    stderr: int
    # When the command closes an output early, point the caller's descriptor at /dev/null, so that
    # the reader behind it sees the end.
    close_outputs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """The terminal has another size."""

    rows: int
    cols: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Send a signal to the command."""

    number: int


class Controls(Protocol):
    """Where sizes and signals come from: readable when `take` has something."""

    def fileno(self) -> int: ...
    def take(self) -> Sequence[Resize | Signal]: ...


class Pump:
    """One running command. `run` returns its end; the socket is of no use afterwards."""

    def __init__(
        self,
        sock: socket.socket,
        streams: Streams,
        *,
        decoder: FrameDecoder | None = None,
        controls: Controls | None = None,
        detach_keys: bytes = b"",
        watch: int | None = None,
    ) -> None:
        self._sock = sock
        self._watch = watch  # readable once nobody carries our bytes any more: no reset would come
        self._streams = streams
        self._controls = controls
        self._matcher = DetachMatcher(detach_keys)
        self._decoder = decoder or FrameDecoder(EXEC_IN)  # the opener may have read ahead
        self._decoder.limits = EXEC_IN
        self._out = bytearray()
        self._credit = WINDOW_BYTES
        self._stdin = streams.stdin
        self._outputs: dict[Stream, Output] = {}
        self._end: ExecEnd | None = None
        self._poll = select.poll()
        self._registered: dict[int, int] = {}

    def run(self) -> ExecEnd:
        """Move bytes until the end.

        Raises:
            PermanentError: the guest broke the protocol.
        """
        self._sock.setblocking(False)  # noqa: FBT003 - no keywords there
        try:
            self._outputs[Stream.STDOUT] = Output(self._streams.stdout)
            self._outputs[Stream.STDERR] = Output(self._streams.stderr)
            self._take_all()
            while self._end is None or self._has_output():
                self._step()
            return self._end
        finally:
            for output in self._outputs.values():
                output.close()

    def _step(self) -> None:
        self._register()
        for fd, events in self._poll.poll():
            if fd == self._sock.fileno():
                self._on_socket(events)
            elif fd == self._watch:
                self._on_gone()
            elif self._controls is not None and fd == self._controls.fileno():
                self._take_controls(self._controls)
            elif fd == self._stdin:
                self._read_stdin()
            else:
                self._on_output(fd, events)

    def _register(self) -> None:
        wanted: dict[int, int] = {}
        for output in self._outputs.values():
            if output.is_pollable and not output.is_closed:
                wanted[output.fd] = select.POLLOUT if output.queued else 0
        if self._controls is not None:
            wanted[self._controls.fileno()] = select.POLLIN
        if self._end is None:
            wanted[self._sock.fileno()] = self._socket_events()
            if self._watch is not None:
                wanted[self._watch] = select.POLLIN
            if self._stdin is not None and self._credit and len(self._out) < _HIGH_WATER_BYTES:
                wanted[self._stdin] = select.POLLIN
        for fd in self._registered.keys() - wanted.keys():
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)
        for fd, events in wanted.items():
            if self._registered.get(fd) != events:
                self._poll.register(fd, events)
        self._registered = wanted

    def _socket_events(self) -> int:
        events = select.POLLOUT if self._out else 0
        if all(output.queued < _HIGH_WATER_BYTES for output in self._outputs.values()):
            events |= select.POLLIN
        return events

    # -- towards the guest

    def _read_stdin(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, min(CHUNK_BYTES, self._credit))
        except BlockingIOError:
            return
        except OSError:  # a terminal that hung up, a descriptor that is not open for reading
            data = b""
        if not data:
            self._stdin = None
            self._send(encode_frame(FrameType.STDIN_END))
            return
        passed, is_detached = self._matcher.feed(data)
        if passed:
            self._credit -= len(passed)
            self._send(encode_frame(FrameType.STDIN, passed))
        if is_detached:
            self._detach()

    def _detach(self) -> None:
        self._out += encode_frame(FrameType.DETACH)
        self._end = ExecEnd(kind=EndKind.DETACHED)
        self._sock.settimeout(_GOODBYE_S)
        try:
            self._sock.sendall(self._out)
        except OSError:
            self._end = ExecEnd(kind=EndKind.LOST)

    def _take_controls(self, controls: Controls) -> None:
        for item in controls.take():
            if self._end is not None:
                self._give_up_on_output(item)
                continue
            match item:
                case Resize():
                    self._send(encode_resize(item.rows, item.cols))
                case Signal():
                    self._send(encode_signal(item.number))

    def _give_up_on_output(self, item: Resize | Signal) -> None:
        """The command has ended, only a slow reader keeps us: a signal is for ourselves now."""
        if isinstance(item, Signal):
            for output in self._outputs.values():
                output.close()

    def _send(self, data: bytes) -> None:
        self._out += data
        self._flush()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            return  # reading tells the same, after what the guest said last
        del self._out[:sent]

    # -- from the guest

    def _on_socket(self, events: int) -> None:
        if events & select.POLLOUT and self._out:
            self._flush()
        if events & ~select.POLLOUT:
            self._receive()

    def _on_gone(self) -> None:
        """The machine is gone: what it said last is still in the socket."""
        while self._end is None and self._receive():
            pass
        if self._end is None:
            self._end = ExecEnd(kind=EndKind.LOST)

    def _receive(self) -> bool:
        """Take what has come; whether there was anything."""
        try:
            data = self._sock.recv(4 * CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end = ExecEnd(kind=EndKind.LOST)
            return False
        self._decoder.feed(data)
        self._take_all()
        return True

    def _take_all(self) -> None:
        try:
            for kind, payload in self._decoder:
                self._take(kind, payload)
                if self._end is not None:
                    return
        except ProtocolError as error:
            raise broken(error) from error

    def _take(self, kind: FrameType, payload: bytes) -> None:
        match kind:
            case FrameType.STDOUT:
                self._write(Stream.STDOUT, payload)
            case FrameType.STDERR:
                self._write(Stream.STDERR, payload)
            case FrameType.CREDIT:
                self._credit = min(self._credit + parse_credit(payload), _MAX_CREDIT_BYTES)
            case FrameType.STREAM_END:
                self._end_stream(parse_stream(payload))
            case FrameType.EXIT:
                self._end = _exec_end(parse_exit(payload))
            case _:
                raise PermanentError(f"no branch for frame {kind.name}")

    def _write(self, stream: Stream, data: bytes) -> None:
        output = self._outputs[stream]
        was_open = not output.is_closed
        output.write(data)
        if was_open and output.is_closed:
            self._send(encode_output_closed(stream))

    def _end_stream(self, stream: Stream) -> None:
        if stream is Stream.STDIN:
            self._stdin = None
        elif self._streams.close_outputs:
            self._outputs[stream].end()

    def _on_output(self, fd: int, events: int) -> None:
        for stream, output in self._outputs.items():
            if output.fd != fd or output.is_closed:
                continue
            if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                output.close()
            elif events & select.POLLOUT:
                output.flush()
            if output.is_closed and not output.is_ending and self._end is None:
                self._send(encode_output_closed(stream))

    def _has_output(self) -> bool:
        return any(output.queued for output in self._outputs.values())


def _exec_end(found: Exit) -> ExecEnd:
    if found.signal is not None:
        return ExecEnd(kind=EndKind.SIGNALED, signal=found.signal)
    return ExecEnd(kind=EndKind.EXITED, status=found.status or 0)
