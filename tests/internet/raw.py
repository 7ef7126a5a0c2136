# SPDX-License-Identifier: Apache-2.0
"""Servers of plain bytes: echo, one that speaks first, those that follow a script, a UDP sink."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Sequence

from tests.internet.facts import (
    ECHO_PORT,
    GREETING_PORT,
    MAX_BODY_BYTES,
    PUBLIC_RESOLVER,
    RESOLVER,
    UDP_PORTS,
    WEB,
    Do,
    Kind,
    Seen,
    Step,
)
from tests.internet.log import Gates, Log

GREETING = b"220 ready\r\n"
_UDP_ADDRESSES = (WEB, PUBLIC_RESOLVER, RESOLVER)


class Raw:
    """Starts servers, and notes what they are sent."""

    def __init__(self, log: Log, gates: Gates, context: ssl.SSLContext) -> None:
        self._log = log
        self._gates = gates
        self._context = context
        self._scripted: dict[int, tuple[Sequence[Step], asyncio.Server]] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The servers that are always there."""
        for address in ("0.0.0.0", "::"):
            await asyncio.start_server(self._echo, address, ECHO_PORT)
            await asyncio.start_server(self._greet, address, GREETING_PORT)
        loop = asyncio.get_running_loop()
        for address in _UDP_ADDRESSES:
            for port in UDP_PORTS:
                if port == 53 and address != WEB:
                    continue  # a name server is there
                await loop.create_datagram_endpoint(lambda: _Sink(self), local_addr=(address, port))

    async def script(self, port: int, steps: Sequence[Step], *, tls: bool) -> None:
        """Follow a script for each connection to a port, instead of the former one."""
        if (former := self._scripted.pop(port, None)) is not None:
            former[1].close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._follow(steps, reader, writer)
            writer.close()

        context = self._context if tls else None
        server = await asyncio.start_server(serve, "0.0.0.0", port, ssl=context)
        self._scripted[port] = (steps, server)

    def note(self, kind: Kind, at: str, data: bytes) -> None:
        """Enter bytes in the log."""
        entry = Seen(kind=kind, at=at, what=at, body=data[:MAX_BODY_BYTES], body_bytes=len(data))
        task = asyncio.get_running_loop().create_task(self._log.add(entry))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.note(Kind.TCP, _local(writer), data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await self._echo(reader, writer)

    async def _follow(
        self, steps: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for step in steps:
            match step.do:
                case Do.READ:
                    self.note(Kind.TCP, _local(writer), await reader.read(MAX_BODY_BYTES))
                case Do.READ_HEAD:
                    self.note(Kind.TCP, _local(writer), await reader.readuntil(b"\r\n\r\n"))
                case Do.SEND:
                    writer.write(step.data)
                    await writer.drain()
                case Do.SPLIT:
                    for number in range(len(step.data)):
                        writer.write(step.data[number : number + 1])
                        await writer.drain()
                        await asyncio.sleep(0)
                case Do.ENDLESS:
                    while True:
                        writer.write(step.data)
                        await writer.drain()
                        await asyncio.sleep(0)
                case Do.WAIT:
                    await self._gates.wait(step.data.decode())
                case Do.RESET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    return
                case Do.HOLD:
                    await reader.read()


class _Sink(asyncio.DatagramProtocol):
    """Notes datagrams and never answers."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._at = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address, port = transport.get_extra_info("sockname")[:2]
        self._at = f"{address}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        del addr
        self._raw.note(Kind.UDP, self._at, data)


def _local(writer: asyncio.StreamWriter) -> str:
    address, port = writer.get_extra_info("sockname")[:2]
    return f"{address}:{port}"
