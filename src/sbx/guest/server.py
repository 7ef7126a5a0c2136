# SPDX-License-Identifier: Apache-2.0
"""Accepts session connections, lets in who holds the key, and keeps count of what runs."""

from __future__ import annotations

import socket
from collections.abc import Callable

from .conn import Connection
from .handshake import Handshake
from .launch import Command
from .loop import READ, Loop
from .place import Place
from .session import ExecSession
from .transfer import FILE_REQUESTS, Transfer
from .wire import (
    AUTH,
    AUTH_IN,
    FAILED,
    HELLO,
    OPEN_IN,
    WELCOME,
    Fields,
    WireError,
    message,
    parse,
)

MAX_STRANGERS = 16  # connections that have not proved the key
MAX_SESSIONS = 512
_AUTH_TIMEOUT_S = 10.0
_OPEN_TIMEOUT_S = 60.0  # a pooled connection may wait this long for its request


class SessionServer:
    """The sessions of one sandbox. `on_change` is called whenever the counts change."""

    def __init__(self, loop: Loop, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._on_change = on_change
        self._listener: socket.socket | None = None
        self._key = b""
        self._strangers = 0
        self._sessions: set[ExecSession | Transfer] = set()
        self.place: Place | None = None  # None: there is no sandbox to run in

    @property
    def attached(self) -> int:
        """Sessions with a client."""
        return sum(session.is_attached for session in self._sessions)

    @property
    def detached(self) -> int:
        """Commands that go on without a client."""
        return len(self._sessions) - self.attached

    def set_key(self, key: bytes) -> None:
        """The key that clients must hold from now on."""
        self._key = key

    def listen(self, address: str, port: int) -> None:
        """Accept connections; called again, it does nothing."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003 - no keywords there
        self._listener = listener
        self._loop.watch(listener.fileno(), READ, lambda _events: self._accept())

    def close(self) -> None:
        """Accept nobody any more."""
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def stop_transfers(self) -> None:
        """End the children that the sandbox's own end does not reach."""
        for session in self._sessions:
            if isinstance(session, Transfer):
                session.stop()

    def adopt(self, sock: socket.socket) -> None:
        """Serve a connected socket."""
        if self._strangers >= MAX_STRANGERS:
            sock.close()
            return
        self._strangers += 1
        connection = Connection(self._loop, sock, AUTH_IN)
        self._loop.start(self._serve(connection))

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _address = self._listener.accept()
        except OSError:  # gone again, or no descriptors left: the others go on
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.adopt(sock)

    async def _serve(self, connection: Connection) -> None:
        try:
            is_known = await self._authenticate(connection)
        finally:
            self._strangers -= 1
        found = await connection.receive(_OPEN_TIMEOUT_S) if is_known else None
        if found is None:
            connection.close()
            return
        try:
            await self._open(connection, parse(found[1]))
        except WireError as error:
            refuse(connection, "protocol", str(error))

    async def _authenticate(self, connection: Connection) -> bool:
        handshake = Handshake(self._key)
        connection.send(message(HELLO, handshake.hello()))
        found = await connection.receive(_AUTH_TIMEOUT_S)
        if found is None or found[0] != AUTH or not self._key:
            return False
        try:
            answer = handshake.check(found[1])
        except WireError:
            return False
        if answer is None:
            return False
        connection.limits = OPEN_IN
        connection.send(message(WELCOME, answer))
        return True

    async def _open(self, connection: Connection, fields: Fields) -> None:
        place, kind = self.place, fields.text("type", 32)
        if place is None:
            refuse(connection, "no_sandbox", "the sandbox is not running")
        elif len(self._sessions) >= MAX_SESSIONS:
            refuse(connection, "busy", "too many sessions")
        elif kind == "exec":
            await self._exec(connection, Command(fields, place), place)
        elif kind in FILE_REQUESTS:
            transfer = Transfer(self._loop, place, self._update)
            transfer.start(kind, fields, connection)
            self._sessions.add(transfer)
            self._on_change()
        else:
            refuse(connection, "unknown_request", f"unknown request: {kind}")

    async def _exec(self, connection: Connection, command: Command, place: Place) -> None:
        if not command.argv:
            raise WireError("`argv`: empty")
        session = ExecSession(self._loop, connection, self._update)
        self._sessions.add(session)
        if not await session.start(command, place):
            self._sessions.discard(session)
        self._update()

    def _update(self) -> None:
        self._sessions = {session for session in self._sessions if not session.is_over}
        self._on_change()


def refuse(connection: Connection, code: str, text: str) -> None:
    """Say why not, and end the connection."""
    connection.send(message(FAILED, {"code": code, "message": text, "status": 1}))
    connection.finish()
