# SPDX-License-Identifier: Apache-2.0
"""Descriptors between processes: socket pairs, and SCM_RIGHTS (unix(7)) sync and on the event loop.

Received descriptors are close-on-exec. A message whose descriptors did not all fit is refused as a
whole, and what did arrive is closed, so that a hostile or wrong peer cannot fill our table.
"""

from __future__ import annotations

import array
import asyncio
import os
import resource
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sbx.errors import PermanentError

MAX_FDS = 64  # in one message; the kernel's own limit is 253 (SCM_MAX_FD)

_T = TypeVar("_T")


def socket_pair(
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> tuple[socket.socket, socket.socket]:
    """Two connected Unix sockets, both close-on-exec: ours and the one to hand over."""
    return socket.socketpair(socket.AF_UNIX, kind)


def send_fds(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send `data` (not empty) with `fds` in one message; the caller keeps its own copies."""
    if not data or len(fds) > MAX_FDS:
        raise ValueError("descriptors travel with at least one byte, and at most 64 at once")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sent = sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
    if sent < len(data):  # the descriptors went with the first part (a stream socket)
        sock.sendall(data[sent:])


def recv_fds(
    sock: socket.socket, *, max_bytes: int, max_fds: int = MAX_FDS
) -> tuple[bytes, list[int]]:
    """Receive one message (or a part of the stream) and its descriptors, which become the caller's.

    `b""` is the end of the stream.

    Raises:
        PermanentError: the message or its descriptors were cut off.
    """
    room = socket.CMSG_SPACE(max_fds * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(max_bytes, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        close_all(fds)
        raise PermanentError("a message with descriptors was cut off")
    return data, list(fds)


async def send_fds_async(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """As `send_fds`, on a non-blocking socket of the running event loop."""
    if not data or len(fds) > MAX_FDS:
        raise ValueError("descriptors travel with at least one byte, and at most 64 at once")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sent = await _when_ready(
        sock, lambda: sock.sendmsg([data], rights, socket.MSG_NOSIGNAL), write=True
    )
    if sent < len(data):
        await asyncio.get_running_loop().sock_sendall(sock, data[sent:])


async def recv_fds_async(
    sock: socket.socket, *, max_bytes: int, max_fds: int = MAX_FDS
) -> tuple[bytes, list[int]]:
    """As `recv_fds`, on a non-blocking socket of the running event loop.

    Raises:
        PermanentError: the message or its descriptors were cut off.
    """
    return await _when_ready(
        sock, lambda: recv_fds(sock, max_bytes=max_bytes, max_fds=max_fds), write=False
    )


def close_all(fds: Iterable[int]) -> None:
    """Close bare descriptors."""
    for fd in fds:
        os.close(fd)


def allow_descriptors(wanted: int) -> None:
    """Raise this process's own limit of descriptors towards `wanted`, as far as the system lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


async def _when_ready(sock: socket.socket, attempt: Callable[[], _T], *, write: bool) -> _T:
    """Call `attempt` until it no longer raises BlockingIOError, on the event loop between."""
    loop = asyncio.get_running_loop()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    )
    while True:
        try:
            return attempt()
        except BlockingIOError:
            pass
        ready: asyncio.Future[None] = loop.create_future()
        add(sock, _wake, ready)
        try:
            await ready
        finally:
            remove(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
