# SPDX-License-Identifier: Apache-2.0
"""A plain socket that leads into TLS: both ends may end first, and a cut is a cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator

import pytest

from sbx.proxy.limits import Limits
from sbx.proxy.tls_bridge import inside_tls
from tests.unit.proxy.proxies import Serve, echo, server

SIZE = 3_000_000


@contextlib.asynccontextmanager
async def bridge(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], serve: Serve, name: str = "site.test"
) -> AsyncGenerator[socket.socket]:
    """A socket whose other end is a TLS server."""
    async with server(serve, contexts[0]) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        with await inside_tls(sock, name, contexts[1], Limits()) as inside:
            yield inside


async def read_all(sock: socket.socket) -> bytes:
    found = b""
    while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
        found += data
    return found


def test_bytes_pass_both_ways_and_the_server_may_end_first(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(SIZE))
        await writer.drain()

    async def main() -> None:
        async with bridge(contexts, serve) as sock, asyncio.TaskGroup() as tasks:
            sending = asyncio.get_running_loop().sock_sendall(sock, bytes(SIZE))
            tasks.create_task(sending)
            assert len(await read_all(sock)) == SIZE

    asyncio.run(main())


def test_what_comes_after_we_have_ended_one_way_arrives(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.write(bytes(SIZE))
        await writer.drain()

    async def main() -> None:
        async with bridge(contexts, serve) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert len(await read_all(sock)) == SIZE

    asyncio.run(main())


@pytest.mark.parametrize("how", ["close", "shutdown"])
def test_a_cut_reaches_the_server_although_nothing_else_moves(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], how: str
) -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        gone.set()

    async def main() -> None:
        async with bridge(contexts, serve) as sock:
            if how == "close":
                sock.close()
            else:
                sock.shutdown(socket.SHUT_RDWR)
            await gone.wait()

    gone = asyncio.Event()
    asyncio.run(main())


def test_a_certificate_for_another_name_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def main() -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with bridge(contexts, echo, "other.test"):
                pass

    asyncio.run(main())
