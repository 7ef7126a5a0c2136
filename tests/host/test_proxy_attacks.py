# SPDX-License-Identifier: Apache-2.0
"""Attacks on the proxies over real sockets: each is refused, and no server hears of it.

docs/security.md lists which attack is shown by which test.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from sbx.proxy.events import Outcome
from sbx.proxy.limits import Limits
from tests.unit.policy.factories import policy as compiled
from tests.unit.policy.factories import rule
from tests.unit.proxy.proxies import LOOPBACK, Proxies, hello_web, server

ALLOWED = ("allow site.test", LOOPBACK)
LINE = "POST {} HTTP/1.1\r\n"
BODY = "\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n"

# What two parsers could read in two ways, behind the line and the Host of a request.
AMBIGUOUS = {
    "two lengths": f"Content-Length: 5\r\nContent-Length: 6\r\n{BODY}",
    "the same length twice": f"Content-Length: 5\r\nContent-Length: 5\r\n{BODY}",
    "length and chunks": f"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n{BODY}",
    "another coding": f"Transfer-Encoding: gzip, chunked\r\n{BODY}",
    "a coding that looks like it": f"Transfer-Encoding: xchunked\r\n{BODY}",
    "coding with a tab": f"Transfer-Encoding:\x0bchunked\r\n{BODY}",
    "space before the colon": f"Transfer-Encoding : chunked\r\n{BODY}",
    "a folded field": f"X: a\r\n Transfer-Encoding: chunked\r\n{BODY}",
    "bare LF": f"X: a\nTransfer-Encoding: chunked\r\n{BODY}",
    "bare CR": f"X: a\rTransfer-Encoding: chunked\r\n{BODY}",
    "NUL": f"X: a\0b\r\n{BODY}",
    "nominated by Connection": f"Connection: close, host\r\n{BODY}",
    "a second host": f"Host: other.test\r\n{BODY}",
    "a signed length": f"Content-Length: +5\r\n{BODY}",
    "a huge length": f"Content-Length: {'9' * 40}\r\n{BODY}",
    "a giant field": f"X: {'a' * 70_000}\r\n{BODY}",
    "many fields": "X: y\r\n" * 200 + BODY,
}


class Heard:
    """A server that answers, and keeps what it read."""

    def __init__(self) -> None:
        self.data = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.data += data
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()


@pytest.mark.parametrize("attack", AMBIGUOUS)
@pytest.mark.parametrize("way", ["explicit", "tunnel", "transparent"])
def test_what_can_be_read_in_two_ways_reaches_no_server(attack: str, way: str) -> None:
    async def main() -> None:
        heard = Heard()
        async with server(heard.serve) as port, Proxies(*ALLOWED).running() as proxies:
            where = f"site.test:{port}"
            head = f"Host: {where}\r\n{AMBIGUOUS[attack]}"
            if way == "explicit":
                request = LINE.format(f"http://{where}/") + head
                answer = await proxies.ask(request.encode("latin-1"))
            elif way == "transparent":
                proxies.lead_to("site.test", port)
                answer = await proxies.pass_through((LINE.format("/") + head).encode("latin-1"))
            else:
                _, reader, writer = await proxies.connect("site.test", port)
                writer.write((LINE.format("/") + head).encode("latin-1"))
                answer = await reader.read(20)
                writer.close()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert (await proxies.ended()).outcome is Outcome.MALFORMED
        assert heard.data == b""

    asyncio.run(main())


@pytest.mark.parametrize(
    "target",
    [
        *("//ok/x", "/ok//x", "/./ok/x", "/ok/./x", "/ok/../secret", "/ok/..", "/x/../ok/y"),
        *("/ok/%2e%2e/secret", "/ok/%2E./secret", "/ok/.%2e/secret", "/ok/;x", "/ok;/x"),
        *("/ok%2fx", "/ok%2Fx", "/ok/%5c..%5csecret", "/ok/\\..\\secret", "/ok/%252e%252e/secret"),
        *("/ok/%00", "/ok/%c0%ae%c0%ae/secret", "/secret", "/OK/x", "/ok/x/../../secret?/ok/"),
    ],
)
def test_other_spellings_of_a_path_are_not_allowed_by_a_rule_about_paths(target: str) -> None:
    async def main() -> None:
        heard = Heard()
        async with server(heard.serve) as port, Proxies().running() as proxies:
            allow = rule(f"allow site.test:{port}", methods="GET", path="/ok/*")
            proxies.policy = compiled(allow, LOOPBACK)
            host = f"Host: site.test:{port}\r\nConnection: close\r\n\r\n"
            for line in (target, f"http://site.test:{port}{target}"):
                proxies.lead_to("site.test", port)
                request = f"GET {line} HTTP/1.1\r\n{host}".encode()
                answer = await proxies.pass_through(request)
                assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 ")), line
            proxies.lead_to("site.test", port)
            fine = await proxies.pass_through(f"GET /ok/x HTTP/1.1\r\n{host}".encode())
            assert fine.startswith(b"HTTP/1.1 200 ")
            other = await proxies.ask(
                f"PUT http://site.test:{port}/ok/x HTTP/1.1\r\n{host}".encode()
            )
            assert other.startswith(b"HTTP/1.1 403 ")
        assert heard.data.count(b"HTTP/1.1") == 1

    asyncio.run(main())


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", "websocket, h2c", "connect-udp", "spdy/3"])
def test_no_server_is_asked_for_another_protocol_than_websocket(upgrade: str) -> None:
    async def main() -> None:
        heard = Heard()
        async with server(heard.serve) as port, Proxies(*ALLOWED).running() as proxies:
            await proxies.ask(
                f"GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n"
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n".encode()
            )
        assert b"GET / HTTP/1.1" in heard.data
        assert b"pgrade" not in heard.data
        assert b"http2-settings" not in heard.data.lower()

    asyncio.run(main())


def test_a_name_that_moves_between_two_requests_of_one_connection_is_refused() -> None:
    async def main() -> None:
        async with server(hello_web) as port, Proxies(*ALLOWED).running() as proxies:
            request = f"GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.explicit_port)
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readuntil(b"\r\n\r\n")  # the body is the head that the server got
            for address in ("127.0.0.2", "169.254.169.254"):
                proxies.hosts["site.test"] = [address]
                if address == "127.0.0.2":
                    writer.write(request.encode())
                    assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
                    writer.close()
                else:
                    assert (await proxies.ask(request.encode())).startswith(b"HTTP/1.1 403 ")

    asyncio.run(main())


@pytest.mark.parametrize("host", ["other.test", "evil.test", "127.0.0.1", "169.254.169.254", ""])
def test_the_host_of_a_request_is_the_one_of_the_connection(host: str) -> None:
    """`other.test` is allowed, and still not where this connection leads."""

    async def main() -> None:
        heard = Heard()
        rules = (*ALLOWED, "allow other.test")
        async with server(heard.serve) as port, Proxies(*rules).running() as proxies:
            where = f"{host}:{port}" if host else ""
            plain = f"GET / HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
            proxies.lead_to("site.test", port)
            assert (await proxies.pass_through(plain)).startswith((b"HTTP/1.1 40",))
            whole = f"GET http://site.test:{port}/ HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
            assert (await proxies.ask(whole)).startswith(b"HTTP/1.1 400 ")
        assert heard.data == b""

    asyncio.run(main())


def test_a_body_without_end_fills_no_memory() -> None:
    sent = 0

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(stop.wait(), 20)
        writer.close()

    async def main() -> None:
        nonlocal sent
        async with server(deaf) as port, Proxies(*ALLOWED).running() as proxies:
            _, writer = await asyncio.open_connection("127.0.0.1", proxies.explicit_port)
            writer.write(
                f"POST http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n".encode()
            )
            chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
            with contextlib.suppress(TimeoutError):
                while sent < 1_000_000_000:
                    async with asyncio.timeout(0.5):  # nothing moves any more: it is held back
                        writer.write(chunk)
                        await writer.drain()
                    sent += len(chunk)
            assert 0 < sent < 64 * 1024 * 1024
            stop.set()
            writer.transport.abort()

    stop = asyncio.Event()
    asyncio.run(main())


ANSWERS = {
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a folded status": b"HTTP/1.1 200 OK\r\n Set-Cookie: a\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "no HTTP": b"\x16\x03\x01garbage\r\n\r\n",
    "an upgrade that nobody asked for": b"HTTP/1.1 101 Yes\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_cannot_be_read_is_not_passed_on(answer: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWERS[answer])
        await writer.drain()
        await reader.read()

    async def main() -> None:
        async with server(serve) as port, Proxies(*ALLOWED).running() as proxies:
            found = await proxies.ask(
                f"GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n\r\n".encode()
            )
            assert found.startswith(b"HTTP/1.1 502 ")
            assert (await proxies.ended()).outcome is Outcome.FAILED

    asyncio.run(main())


def test_half_open_connections_end() -> None:
    """A guest that connects and says nothing holds its place for a bounded time only."""

    async def main() -> None:
        limits = Limits(keep_alive_s=0.1, idle_timeout_s=0.1, max_connections=4)
        async with server(hello_web) as port, Proxies(*ALLOWED, limits=limits).running() as proxies:
            proxies.lead_to("site.test", port)
            silent = [
                socket.create_connection(("127.0.0.1", proxies.explicit_port)) for _ in "abcd"
            ]
            silent += [
                socket.create_connection(("127.0.0.1", proxies.transparent_port)) for _ in "abcd"
            ]
            request = f"GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n\r\n"
            assert (await proxies.ask(request.encode())).startswith(b"HTTP/1.1 200 ")
            plain = b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"
            assert (await proxies.pass_through(plain)).startswith(b"HTTP/1.1 200 ")
            for sock in silent:
                sock.close()

    asyncio.run(main())
