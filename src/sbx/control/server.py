# SPDX-License-Identifier: Apache-2.0
"""The supervisor's end of the control socket: checks the peer, reads one request, hands it on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sbx.control.client import MAX_LINE_BYTES
from sbx.control.messages import Problem, Reply, Request, to_problem
from sbx.errors import SbxError
from sbx.system import codec

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 10.0
_BACKLOG = 64
_UCRED = "3i"  # struct ucred, unix(7)


@dataclass(slots=True)
class Connection:
    """One accepted connection of our own user."""

    sock: socket.socket

    async def reply(self, reply: Reply, fds: tuple[int, ...] = ()) -> None:
        """Send one answer, with descriptors if given."""
        data = json.dumps(codec.to_json(reply)).encode() + b"\n"
        loop = asyncio.get_running_loop()
        if fds:  # a fresh socket's buffer takes a line of this size whole, without blocking
            sent = socket.send_fds(self.sock, [data], list(fds))
            data = data[sent:]
        await loop.sock_sendall(self.sock, data)

    async def closed(self) -> None:
        """Wait until the other side closes; what it still sends is not wanted."""
        with contextlib.suppress(OSError):
            while await asyncio.get_running_loop().sock_recv(self.sock, 4096):
                pass


Handler = Callable[[Connection, Request], Awaitable[None]]


@contextlib.asynccontextmanager
async def serve_control(path: Path, handler: Handler) -> AsyncGenerator[None]:
    """Listen on `path` (0600, in a 0700 folder) and run `handler` for each request."""
    listener = _listen(path)
    # Not a TaskGroup: it would wrap the errors of our caller's block in a group.
    accepting = asyncio.create_task(_accept(listener, handler), name="control-accept")
    try:
        yield
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        listener.close()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.settimeout(0)
    path.unlink(missing_ok=True)  # ours: the supervisor's lock is held
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(_BACKLOG)
    return listener


async def _accept(listener: socket.socket, handler: Handler) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        while True:
            sock, _address = await loop.sock_accept(listener)
            sock.settimeout(0)
            tasks.create_task(_serve(sock, handler), name="control-connection")


async def _serve(sock: socket.socket, handler: Handler) -> None:
    connection = Connection(sock)
    try:
        if _peer_uid(sock) not in (os.geteuid(), 0):
            return
        request = await _read(sock)
        if request is not None:
            await _answer(connection, handler, request)
    except TimeoutError:
        log.info("control connection sent no request")
    except OSError as error:
        log.info("control connection lost: %s", error)
    finally:
        sock.close()


async def _answer(connection: Connection, handler: Handler, request: Request) -> None:
    try:
        await handler(connection, request)
    except SbxError as error:
        log.info("%s refused: %s", request.verb, error.message)
        await connection.reply(Reply(problem=to_problem(error)))


async def _read(sock: socket.socket) -> Request | None:
    loop = asyncio.get_running_loop()
    buffer = b""
    async with asyncio.timeout(_REQUEST_TIMEOUT_S):
        while b"\n" not in buffer and len(buffer) < MAX_LINE_BYTES:
            data = await loop.sock_recv(sock, 65536)
            if not data:
                return None
            buffer += data
    try:
        return codec.loads(Request, buffer.split(b"\n", 1)[0])
    except codec.CodecError as error:
        problem = Problem(kind="PermanentError", message=f"request not understood: {error}")
        await Connection(sock).reply(Reply(problem=problem))
        return None


def _peer_uid(sock: socket.socket) -> int:
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_UCRED))
    uid: int = struct.unpack(_UCRED, raw)[1]
    return uid
