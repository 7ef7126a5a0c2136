# SPDX-License-Identifier: Apache-2.0
"""A server that an intercepted request reaches, and what it takes to intercept one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sbx.credential.binding import Binding
from sbx.credential.values import Value
from sbx.errors import TransientError
from sbx.proxy.intercept.authority import Authority, make_authority, make_leaf
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.intercept.leaves import Leaves
from tests.unit.proxy.proxies import server

KEY = "sk-real-canary-0123456789abcdef"


class Held:
    """Credentials and their values, in memory."""

    def __init__(self, *bindings: Binding, value: str = KEY) -> None:
        self.bindings: Sequence[Binding] = bindings
        self.values = {binding.id: Value(value) for binding in bindings}

    async def value(self, binding: Binding) -> Value:
        if binding.id not in self.values:
            raise TransientError("the keychain is locked")
        return self.values[binding.id]


@dataclass
class World:
    """Authorities, contexts and credentials of one test."""

    folder: Path
    held: Held
    outer: Authority = field(init=False)  # that servers are signed by
    inner: Authority = field(init=False)  # of the installation
    interception: Interception = field(init=False)

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.outer, self.inner = make_authority(now), make_authority(now)
        trust = ssl.create_default_context(cadata=self.outer.pem().decode())
        trust.set_alpn_protocols(["http/1.1"])
        self.interception = Interception(self.held, Leaves(lambda: self.inner), lambda: trust)
        self.ca_file = self.folder / "inner.pem"
        self.ca_file.write_bytes(self.inner.pem())

    def serving(self, name: str) -> ssl.SSLContext:
        """The context of a real server of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = make_leaf(self.outer, key, name, now=datetime.now(UTC), life=timedelta(days=1))
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + leaf.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def guest(self, *protocols: str) -> ssl.SSLContext:
        """A client inside: it trusts the installation's authority."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.set_alpn_protocols(list(protocols or ("http/1.1",)))
        return context


@dataclass
class Request:
    """A request as the server read it."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    connection: int

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


class Api:
    """Answers by the path; `seen` are the requests."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.connections = 0
        self.go_on = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def running(self, context: ssl.SSLContext) -> AsyncGenerator[int]:
        async with server(self._serve, context) as port:
            yield port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        number = self.connections
        while True:
            request = await _read(reader, number)
            if request is None:
                return
            self.seen.append(request)
            if not await self._answer(request, reader, writer):
                return

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        path = request.target.partition("?")[0]
        echo = json.dumps({"fields": request.fields, "body": request.body.decode("latin-1")})
        match path:
            case "/stream":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                writer.write(b"data: first\n\n")
                await writer.drain()
                await self.go_on.wait()
                writer.write(b"data: last\n\n")
                await writer.drain()
                return False
            case "/split":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                key = request.all("x-api-key")[0].encode()
                for at in range(len(key)):
                    writer.write(b"1\r\n" + key[at : at + 1] + b"\r\n")
                    await writer.drain()
                writer.write(b"0\r\nX-Trailer: " + key + b"\r\n\r\n")
            case "/gzip":
                body = gzip.compress(echo.encode())
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                )
                writer.write(body)
            case "/brotli":
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"
                )
            case "/redirect":
                key = ",".join(request.all("x-api-key")).encode()
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: https://other.test/?k=" + key)
                writer.write(b"\r\nX-Echo: " + key + b"\r\nContent-Length: 0\r\n\r\n")
            case "/socket":
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    b"Upgrade: websocket\r\n\r\n"
                )
                writer.write(b"hello " + request.all("x-api-key")[0].encode() + b"|")
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                return False
            case "/big":
                size = int(request.target.partition("?")[2])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size // 65536):
                    writer.write(b"x" * 65536)
                    await writer.drain()
            case "/short":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
                await writer.drain()
                return False
            case "/two-lengths":
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
            case _:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(echo)
                )
                if request.method != "HEAD":
                    writer.write(echo.encode())
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader, number: int) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    fields = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
    found = dict(fields)
    body = b""
    if "content-length" in found:
        body = await reader.readexactly(int(found["content-length"]))
    elif found.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return Request(method, target, fields, body, number)
