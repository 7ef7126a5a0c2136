# SPDX-License-Identifier: Apache-2.0
"""What HTTP/2 could smuggle into HTTP/1.1, and floods; the guest's side is a real h2 client."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, HeadersFrame

from sbx.credential.binding import Binding
from sbx.credential.places import Place
from sbx.proxy.intercept.http2 import MAX_RESETS
from tests.unit.proxy.api import KEY, Api, Held, World
from tests.unit.proxy.proxies import LOOPBACK, Proxies

Headers = list[tuple[bytes, bytes]]


class Client:
    """An HTTP/2 client that sends what it is told, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(
            H2Configuration(
                header_encoding=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.initiate_connection()

    def send(self, headers: Headers, *, end: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=end)
        self.writer.write(self.h2.data_to_send())
        return stream

    async def status(self, headers: Headers) -> tuple[str, bytes]:
        """The status of one request and its body; `reset` or `closed` if there is none."""
        self.send(headers)
        status, body = "", b""
        while data := await self.reader.read(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, ResponseReceived):
                    status = dict(event.headers or ())[b":status"].decode()
                elif isinstance(event, DataReceived):
                    body += event.data or b""
                elif isinstance(event, StreamReset):
                    return "reset", body
                elif isinstance(event, ConnectionTerminated):
                    return "closed", body
                elif isinstance(event, StreamEnded):
                    return status, body
            self.writer.write(self.h2.data_to_send())
        return "closed", body


def _request(host: bytes, *more: tuple[bytes, bytes], path: bytes = b"/echo") -> Headers:
    return [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", host),
        (b":path", path),
        *more,
    ]


async def _with_client(folder: Path, act: Callable[..., Awaitable[None]]) -> tuple[Api, Proxies]:
    world, api = World(folder, Held()), Api()
    async with api.running(world.serving("site.test")) as port:
        place = Place(hosts=("site.test",), port=port, header="x-api-key", format="%s")
        held = Held(Binding(id="svc", name="svc", places=(place,)))
        world.held.bindings, world.held.values = held.bindings, held.values
        rules = ("allow site.test", LOOPBACK)
        async with Proxies(*rules, interception=world.interception).running() as proxies:
            _, reader, writer = await proxies.connect("site.test", port)
            await writer.start_tls(world.guest("h2"), server_hostname="site.test")
            client = Client(reader, writer)
            await act(client, f"site.test:{port}".encode(), api)
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
    return api, proxies


def test_a_request_gets_its_key_and_cookies_are_joined(tmp_path: Path) -> None:
    async def act(client: Client, host: bytes, api: Api) -> None:
        fields = ((b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-api-key", b"mine"))
        status, body = await client.status(_request(host, *fields))
        assert status == "200"
        assert KEY.encode() not in body
        assert api.seen[0].all("cookie") == ["a=1; b=2"]
        assert api.seen[0].all("x-api-key") == [KEY]

    asyncio.run(_with_client(tmp_path, act))


@pytest.mark.parametrize(
    "field",
    [
        (b"x-a", b"b\r\nx-evil: 1"),
        (b"x-a", b"b\nc"),
        (b"x-a", b"b\x00c"),
        (b"x-a\r\nx-evil", b"1"),
        (b"x a", b"b"),
        (b"X-Upper", b"b"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"x-api-key"),
        (b"content-length", b"5"),
        (b"content-length", b"1x"),
        (b"host", b"other.test"),
        (b":path", b"/second"),
        (b":protocol", b"websocket"),
    ],
)
def test_fields_that_are_refused(tmp_path: Path, field: tuple[bytes, bytes]) -> None:
    async def act(client: Client, host: bytes, api: Api) -> None:
        headers = _request(host, field)
        if field[0].startswith(b":"):
            headers = [*headers[:4], field]
        status, _ = await client.status(headers)
        assert status in ("400", "reset", "closed")
        assert api.seen == []

    asyncio.run(_with_client(tmp_path, act))


@pytest.mark.parametrize(
    "changes",
    [
        {b":path": b"/a b"},
        {b":path": b"/ HTTP/1.1\r\nx: y"},
        {b":path": b"https://other.test/"},
        {b":path": b"*"},
        {b":path": b"/#f"},
        {b":method": b"GET / HTTP/1.1\r\n"},
        {b":method": b"CONNECT"},
        {b":scheme": b"http"},
        {b":authority": b"other.test:1"},
        {b":authority": b""},
    ],
)
def test_targets_that_are_refused(tmp_path: Path, changes: dict[bytes, bytes]) -> None:
    async def act(client: Client, host: bytes, api: Api) -> None:
        headers = [(name, changes.get(name, value)) for name, value in _request(host)]
        status, _ = await client.status(headers)
        assert status in ("400", "403", "reset", "closed")
        assert api.seen == []

    asyncio.run(_with_client(tmp_path, act))


def test_another_name_in_authority_is_denied(tmp_path: Path) -> None:
    async def act(client: Client, host: bytes, api: Api) -> None:
        port = host.partition(b":")[2]
        status, body = await client.status(_request(b"other.test:" + port))
        assert status == "403"
        assert b"other.test" in body
        assert api.seen == []

    asyncio.run(_with_client(tmp_path, act))


def test_rapid_resets_end_the_connection(tmp_path: Path) -> None:
    async def act(client: Client, host: bytes, api: Api) -> None:
        with contextlib.suppress(OSError):
            for _ in range(MAX_RESETS * 2):
                stream = client.send(_request(host, path=b"/stream"))
                client.h2.reset_stream(stream)
                client.writer.write(client.h2.data_to_send())
                await client.writer.drain()
            while await client.reader.read(65536):
                pass
        assert api.connections <= MAX_RESETS + 10

    asyncio.run(_with_client(tmp_path, act))


def test_a_head_that_never_ends_ends_the_connection(tmp_path: Path) -> None:
    async def act(client: Client, host: bytes, api: Api) -> None:
        head = HeadersFrame(1, Encoder().encode(_request(host)))  # without END_HEADERS
        more = ContinuationFrame(1, Encoder().encode([(b"x-a", b"b")]))
        client.writer.write(client.h2.data_to_send() + head.serialize())
        with contextlib.suppress(OSError):
            for _ in range(1000):
                client.writer.write(more.serialize())
                await client.writer.drain()
            while await client.reader.read(65536):  # a server that waits for more would not end
                pass
        assert api.connections == 0

    asyncio.run(_with_client(tmp_path, act))
