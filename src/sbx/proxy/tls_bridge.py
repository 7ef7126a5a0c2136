# SPDX-License-Identifier: Apache-2.0
"""A plain socket whose bytes travel inside TLS: for proxies that are spoken to over TLS.

The rest of the proxy works on plain sockets, and TLS would be in its way everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl

from sbx.proxy.limits import Limits

_RUNNING: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks only weakly


async def inside_tls(
    sock: socket.socket, name: str, context: ssl.SSLContext, limits: Limits
) -> socket.socket:
    """A socket for the inside of a TLS connection, which is made first; the caller closes it.

    `name` is what the certificate must be for. The given socket is taken over. A side that closes
    its socket ends the connection at once, without what is still in a buffer of ours.

    Raises:
        OSError: the connection broke, or the certificate is not trusted.
        TimeoutError: the handshake takes too long.
    """
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=context,
            server_hostname=name,
            ssl_handshake_timeout=limits.connect_timeout_s,
            limit=limits.chunk_bytes,
        )
    except BaseException:
        sock.close()
        raise
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)  # noqa: FBT003 - its own signature
    pumping = _pump(reader, writer, theirs, limits.chunk_bytes)
    task = asyncio.get_running_loop().create_task(pumping, name=f"TLS to {name}")
    _RUNNING.add(task)
    task.add_done_callback(_RUNNING.discard)
    return ours


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    sock: socket.socket,
    chunk_bytes: int,
) -> None:
    """Pass bytes until the server ends or our side is closed; that may also end in one way only."""
    loop = asyncio.get_running_loop()
    with sock, select.epoll() as hang_ups:
        # A socket that was shut down in both ways reports that, whatever is asked for.
        hang_ups.register(sock, 0)
        up = loop.create_task(_to_server(sock, writer, chunk_bytes), name="into TLS")
        down = loop.create_task(_from_server(reader, sock, chunk_bytes), name="out of TLS")

        def closed() -> None:
            loop.remove_reader(hang_ups.fileno())
            writer.transport.abort()
            down.cancel()

        loop.add_reader(hang_ups.fileno(), closed)
        try:
            await asyncio.wait([down])
        finally:
            loop.remove_reader(hang_ups.fileno())
            up.cancel()
            writer.transport.abort()
            await asyncio.gather(up, down, return_exceptions=True)


async def _to_server(sock: socket.socket, writer: asyncio.StreamWriter, chunk_bytes: int) -> None:
    with contextlib.suppress(OSError):
        while data := await asyncio.get_running_loop().sock_recv(sock, chunk_bytes):
            writer.write(data)
            await writer.drain()


async def _from_server(reader: asyncio.StreamReader, sock: socket.socket, chunk_bytes: int) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(chunk_bytes):
            await asyncio.get_running_loop().sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)
