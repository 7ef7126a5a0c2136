# SPDX-License-Identifier: Apache-2.0
"""A connected stream of frames on the event loop: reads into a decoder, writes without blocking."""

from __future__ import annotations

import socket
from collections.abc import Callable

from .loop import READ, WRITE, Loop, Wake
from .wire import CHUNK_BYTES, HEADER, MESSAGE_BYTES, Decoder, WireError

HIGH_WATER_BYTES = 4 * CHUNK_BYTES  # above this, sources of output are not read
_LINGER_S = 5.0


class Connection:
    """Owns a stream socket. The owner sets the callbacks and calls `close` or `finish`."""

    def __init__(self, loop: Loop, sock: socket.socket, limits: dict[int, int]) -> None:
        self._loop = loop
        self._socket = sock
        self._decoder = Decoder(limits)
        self._out = bytearray()
        self._closed = False
        self._finishing = False
        self.on_frame: Callable[[int, bytes], None] | None = None
        self.on_room: Callable[[], None] | None = None  # the queue of output went below the mark
        self.on_lost: Callable[[str], None] | None = None  # the peer left or broke the protocol
        sock.setblocking(False)  # noqa: FBT003 - no keywords there
        loop.watch(sock.fileno(), READ, self._on_events)

    @property
    def limits(self) -> dict[int, int]:
        return self._decoder.limits

    @limits.setter
    def limits(self, limits: dict[int, int]) -> None:
        self._decoder.limits = limits

    @property
    def pending(self) -> int:
        """Bytes received and not taken."""
        return self._decoder.pending

    @property
    def is_full(self) -> bool:
        """Whether enough is queued: stop reading what would be added."""
        return len(self._out) >= HIGH_WATER_BYTES

    def send(self, data: bytes) -> None:
        """Send or queue whole frames."""
        if self._closed:
            return
        if not self._out:
            data = data[self._write(data) :]
        if data:
            self._queue(data)

    def send_chunk(self, kind: int, data: bytes) -> None:
        """Send or queue one data frame, without copying when it can go at once."""
        if self._closed:
            return
        header = HEADER.pack(kind, len(data))
        if self._out:
            self._out += header
            self._out += data
            return
        try:
            sent = self._socket.sendmsg([header, data])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(f"{error}")
            return
        if sent < len(header) + len(data):
            self._queue((header + data)[sent:])

    async def receive(self, timeout_s: float) -> tuple[int, bytes] | None:
        """The next frame; None if the peer left, took too long or broke the protocol."""
        wake = Wake()
        timer = self._loop.call_after(timeout_s, lambda: wake.set(None))
        self.on_frame = lambda kind, payload: wake.set((kind, payload))
        self.on_lost = lambda _reason: wake.set(None)
        self._deliver()
        got = await wake
        timer.cancel()
        self.on_frame = self.on_lost = None
        return got  # type: ignore[return-value]  # only the two lambdas above set it

    def resume(self) -> None:
        """Deliver frames that came before `on_frame` was set."""
        self._deliver()

    def finish(self) -> None:
        """Send what is queued, then say goodbye; read the peer's last bytes so that ours arrive."""
        self.on_frame = self.on_lost = self.on_room = None
        self._finishing = True
        self._loop.call_after(_LINGER_S, self.close)
        if not self._out:
            self._say_goodbye()

    def close(self) -> None:
        """Drop the connection at once."""
        if self._closed:
            return
        self._closed = True
        self.on_frame = self.on_lost = self.on_room = None
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def detach(self) -> socket.socket:
        """Give up the socket, blocking again. The peer has sent nothing that was not taken."""
        self._closed = True
        self._loop.unwatch(self._socket.fileno())
        self._socket.setblocking(True)  # noqa: FBT003 - no keywords there
        return self._socket

    def _say_goodbye(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _queue(self, data: bytes) -> None:
        if not self._closed:
            self._out += data
            self._loop.change(self._socket.fileno(), READ | WRITE)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._lose(f"{error}")
            return len(data)

    def _on_events(self, events: int) -> None:
        if events & WRITE and self._out:
            self._flush()
        if not self._closed and events & ~WRITE:
            self._receive()

    def _flush(self) -> None:
        sent = self._write(self._out)
        if self._closed:
            return
        del self._out[:sent]
        if not self._out:
            self._loop.change(self._socket.fileno(), READ)
            if self._finishing:
                self._say_goodbye()
        if not self.is_full and self.on_room is not None:
            self.on_room()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(4 * CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"{error}")
            return
        if not data:
            self._lose("the peer left")
        elif not self._finishing:
            self._decoder.feed(data)
            self._deliver()
            if (
                self._decoder.pending > 2 * MESSAGE_BYTES
            ):  # nobody takes the frames: not in the protocol
                self._lose("too much was sent ahead")

    def _deliver(self) -> None:
        try:
            while self.on_frame is not None and not self._closed:
                found = self._decoder.next()
                if found is None:
                    return
                self.on_frame(*found)
        except WireError as error:
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        on_lost = self.on_lost
        self.close()
        if on_lost is not None:
            on_lost(reason)
