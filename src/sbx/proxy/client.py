# SPDX-License-Identifier: Apache-2.0
"""The guest's end of a connection, and how bytes go from one socket to another.

Plain sockets on the event loop: nothing is read before there is room for it on the other side, so
a connection holds one chunk in each direction at most, and none while it is idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import types
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from sbx.proxy.connections import reset_on_close
from sbx.proxy.limits import Limits

_CHUNKS_PER_TURN = 16  # before the other connections get their turn
_MAX_LINGER = 256 * 1024  # bytes of the guest that are thrown away while a refusal travels


@dataclass(slots=True, kw_only=True)
class Meter:
    """What passed, and since when."""

    started: float
    sent_bytes: int = 0  # by the guest
    received_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Client:
    """The guest's end, and what was read from it and not used yet."""

    sock: socket.socket
    limits: Limits
    pending: bytearray = field(default_factory=bytearray)

    async def fill(self) -> bool:
        """Read on; whether there was anything."""
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(self.sock, self.limits.chunk_bytes)
        self.pending += data
        return bool(data)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def refuse(self, answer: bytes) -> None:
        """Send a last answer and let it arrive: closing with unread bytes would destroy it."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self.limits.linger_s):
                await loop.sock_sendall(self.sock, answer)
                self.sock.shutdown(socket.SHUT_WR)
                left = _MAX_LINGER
                while left > 0 and (data := await loop.sock_recv(self.sock, left)):
                    left -= len(data)


class IdleLimit:
    """Ends what it encloses when nothing has moved for a while."""

    def __init__(self, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = limits.idle_timeout_s
        self._half_closed_s = limits.half_closed_timeout_s
        self._touched = self._loop.time()
        self._timeout = asyncio.timeout(self._seconds)

    async def __aenter__(self) -> IdleLimit:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)

    def touch(self) -> None:
        """Something moved. Cheap: the timer is only set anew when a good part of it has gone."""
        now = self._loop.time()
        if now - self._touched > self._seconds / 16:
            self._touched = now
            self._timeout.reschedule(now + self._seconds)

    def half_closed(self) -> None:
        """One side has ended: the other has less time to do so."""
        self._seconds = min(self._seconds, self._half_closed_s)
        self._touched = self._loop.time()
        self._timeout.reschedule(self._touched + self._seconds)


async def relay(
    client: Client, upstream: socket.socket, meter: Meter, *, first: bytes = b""
) -> None:
    """Pass bytes both ways until both sides have ended; `first` came from upstream already.

    Raises:
        TimeoutError: nothing moved for too long.
    """
    pending, client.pending = bytes(client.pending), bytearray()

    def sent(size: int) -> None:
        meter.sent_bytes += size

    def received(size: int) -> None:
        meter.received_bytes += size

    async with IdleLimit(client.limits) as idle, asyncio.TaskGroup() as tasks:
        up = _Pump(client.sock, upstream, client.limits.chunk_bytes, idle, sent)
        down = _Pump(upstream, client.sock, client.limits.chunk_bytes, idle, received)
        tasks.create_task(up.run(pending), name="to the server")
        tasks.create_task(down.run(first), name="to the guest")


@dataclass(frozen=True, slots=True)
class _Pump:
    """One direction."""

    source: socket.socket
    sink: socket.socket
    chunk_bytes: int
    idle: IdleLimit
    count: Callable[[int], None]

    async def run(self, data: bytes) -> None:
        try:
            await self._copy(data)
            self.idle.half_closed()
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:  # one side broke off: the other learns it by a reset
            for sock in (self.source, self.sink):
                reset_on_close(sock)
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    async def _copy(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        chunks = 0
        if data:
            await loop.sock_sendall(self.sink, data)
            self.count(len(data))
        while data := await loop.sock_recv(self.source, self.chunk_bytes):
            await loop.sock_sendall(self.sink, data)
            self.count(len(data))
            self.idle.touch()
            chunks += 1
            if chunks % _CHUNKS_PER_TURN == 0:  # neither call waits while both sides are ready
                await next_turn()


@types.coroutine
def next_turn() -> Generator[None, None, None]:
    """Let the event loop serve the others."""
    yield


async def wait_readable(*socks: socket.socket) -> None:
    """Wait until one of them has bytes or has ended, and take nothing from it."""
    loop = asyncio.get_running_loop()
    found = loop.create_future()

    def ready() -> None:
        if not found.done():
            found.set_result(None)

    for sock in socks:
        loop.add_reader(sock, ready)
    try:
        await found
    finally:
        for sock in socks:
            loop.remove_reader(sock)


def has_bytes(sock: socket.socket) -> bool:
    """Whether a read would return at once, be it the end."""
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
