# SPDX-License-Identifier: Apache-2.0
"""A published UDP port: each client of the host has a socket of its own towards the sandbox.

Nothing is held: a datagram for which there is no room at the other side is lost, as on any network.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from sbx.errors import SbxError

log = logging.getLogger(__name__)

OpenSocket = Callable[[], Awaitable[socket.socket]]  # connected to the port of the sandbox
Address = tuple[str | int, ...]

MAX_CLIENTS = 256  # beyond them, the one that was silent for longest is forgotten
_IDLE_S = 120.0  # as RFC 4787 asks of a NAT, at least
_MAX_DATAGRAM = 65535
_PER_TURN = 32  # datagrams, before the others get their turn
_WAITING = 16  # datagrams of a client whose socket is not there yet


class UdpForward:
    """Forwards between a socket of the host and the sandbox, from `start` to `close`."""

    def __init__(self, sock: socket.socket, open_socket: OpenSocket) -> None:
        self._sock = sock
        self._open_socket = open_socket
        self._loop = asyncio.get_running_loop()
        self._clients: OrderedDict[Address, _Client] = OrderedDict()

    def start(self) -> None:
        self._loop.add_reader(self._sock, self._from_clients)

    def close(self) -> None:
        """End it with all clients; the host's socket is the caller's."""
        self._loop.remove_reader(self._sock)
        while self._clients:
            self._clients.popitem()[1].close()

    def _from_clients(self) -> None:
        for _ in range(_PER_TURN):
            try:
                data, address = self._sock.recvfrom(_MAX_DATAGRAM)
            except OSError:  # nothing more, or what the kernel says of an earlier answer
                return
            client = self._clients.get(address) or self._admit(address)
            self._clients.move_to_end(address)
            client.send(data)

    def _admit(self, address: Address) -> _Client:
        if len(self._clients) >= MAX_CLIENTS:
            self._clients.popitem(last=False)[1].close()

        def answer(data: bytes) -> None:
            with contextlib.suppress(OSError):
                self._sock.sendto(data, address)

        def forget() -> None:
            if (gone := self._clients.pop(address, None)) is not None:
                gone.close()

        client = self._clients[address] = _Client(self._open_socket, answer, forget)
        return client


class _Client:
    """One client of the host."""

    def __init__(
        self, open_socket: OpenSocket, answer: Callable[[bytes], None], forget: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._forget = forget
        self._sock: socket.socket | None = None
        self._waiting: list[bytes] = []
        self._seen = self._loop.time()
        self._timer = self._loop.call_later(_IDLE_S, self._expire)
        self._opening = self._loop.create_task(self._open(open_socket), name="udp client")

    def send(self, data: bytes) -> None:
        """Towards the sandbox."""
        self._seen = self._loop.time()
        if self._sock is None:
            if len(self._waiting) < _WAITING:
                self._waiting.append(data)
            return
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def close(self) -> None:
        self._timer.cancel()
        self._opening.cancel()
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    async def _open(self, open_socket: OpenSocket) -> None:
        try:
            self._sock = await open_socket()
        except (SbxError, OSError) as error:
            log.warning("no socket for a client of a published port: %s", error)
            self._forget()
            return
        self._loop.add_reader(self._sock, self._from_sandbox)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.send(data)

    def _from_sandbox(self) -> None:
        for _ in range(_PER_TURN):
            try:
                data = self._sock.recv(_MAX_DATAGRAM) if self._sock is not None else b""
            except OSError:
                return
            self._seen = self._loop.time()
            self._answer(data)

    def _expire(self) -> None:
        left = self._seen + _IDLE_S - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self._forget()
