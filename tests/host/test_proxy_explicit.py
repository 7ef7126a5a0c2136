# SPDX-License-Identifier: Apache-2.0
"""The explicit proxy with real sockets: tunnels, plain requests, refusals."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from sbx.proxy.events import Outcome
from sbx.proxy.limits import Limits
from tests.unit.proxy.hellos import hello
from tests.unit.proxy.proxies import LOOPBACK, Proxies, echo, fails, hello_web, server

ALLOWED = ("allow site.test", LOOPBACK)


def test_tls_passes_when_the_names_agree(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def main() -> None:
        async with server(hello_web, contexts[0]) as port, Proxies(*ALLOWED).running() as proxies:
            answer, reader, writer = await proxies.connect("site.test", port)
            assert answer.startswith(b"HTTP/1.1 200 ")
            await writer.start_tls(contexts[1], server_hostname="site.test")
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            event = await proxies.ended()
        assert event.outcome is Outcome.PASSED
        assert str(event.address) == "127.0.0.1"
        assert event.sent_bytes > 100
        assert event.received_bytes > 100
        assert event.decision is not None
        assert event.decision.rule is not None

    asyncio.run(main())


@pytest.mark.parametrize("said", [b"other.test", b"x.site.test", None, b"127.0.0.1"])
def test_another_server_name_is_blocked(said: bytes | None) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async def main() -> None:
        rules = (*ALLOWED, "allow other.test,x.site.test")
        async with server(listen) as port, Proxies(*rules).running() as proxies:
            _, reader, writer = await proxies.connect("site.test", port)
            writer.write(hello(said) if said else hello())
            assert await reader.read() == bytes([21, 3, 3, 0, 2, 2, 49])
            writer.close()
            event = await proxies.ended()
        assert event.outcome in (Outcome.BLOCKED, Outcome.MALFORMED)
        assert heard in ([], [b""])

    asyncio.run(main())


def test_what_is_not_allowed_is_told_and_nothing_is_asked_upstream() -> None:
    async def main() -> None:
        async with Proxies("allow site.test:443").running() as proxies:
            for host in ("evil.test:443", "site.test:444", "localhost:22", "127.0.0.1:22"):
                answer = await proxies.ask(
                    f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                )
                # Docker and other programs in Go show the reason and nothing else of this answer.
                assert answer.startswith(
                    f"HTTP/1.1 403 Blocked by network policy: {host};".encode()
                )
                assert f"Blocked by network policy: {host}".encode() in answer
                assert b"sbx policy allow network --sandbox box" in answer
            answer = await proxies.ask(b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n")
            assert b"Blocked by network policy: evil.test:80" in answer
        assert proxies.asked == []
        assert {event.outcome for event in proxies.events} == {Outcome.BLOCKED}

    asyncio.run(main())


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1.", "[::1%1]", "a b"]
)
def test_other_spellings_of_addresses_are_refused(host: str) -> None:
    async def main() -> None:
        async with Proxies("allow **", "allow localhost").running() as proxies:
            answer = await proxies.ask(
                f"CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n".encode()
            )
            assert answer.startswith(b"HTTP/1.1 400 ")

    asyncio.run(main())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::]", "0.0.0.0", "169.254.169.254", "[::1]"]
)
def test_special_addresses_are_refused_although_everything_is_allowed(host: str) -> None:
    async def main() -> None:
        async with Proxies("allow **").running() as proxies:
            answer, _, writer = await proxies.connect(host, 80)
            assert answer.startswith(b"HTTP/1.1 403 ")
            writer.close()

    asyncio.run(main())


def test_a_name_that_moves_to_a_special_address_is_refused() -> None:
    async def main() -> None:
        rules = ("allow site.test", "allow 127.0.0.1")
        async with server(echo) as port, Proxies(*rules).running() as proxies:
            answer, _, writer = await proxies.connect("site.test", port)
            assert answer.startswith(b"HTTP/1.1 200 ")
            writer.close()
            for address in ("127.0.0.2", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.2"):
                proxies.hosts["site.test"] = [address]
                answer, _, writer = await proxies.connect("site.test", port)
                assert answer.startswith(b"HTTP/1.1 403 ")
                writer.close()

    asyncio.run(main())


def test_plain_requests_are_decided_one_by_one() -> None:
    async def main() -> None:
        async with server(hello_web) as port, Proxies(*ALLOWED).running() as proxies:
            first = f"GET http://site.test:{port}/a HTTP/1.1\r\nHost: site.test:{port}\r\n\r\n"
            second = "GET http://evil.test/b HTTP/1.1\r\nHost: evil.test\r\n\r\n"
            answer = await proxies.ask((first + first + second + first).encode())
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert answer.count(b"HTTP/1.1 403 ") == 1
        assert answer.count(f"Host: site.test:{port}\r\n".encode()) == 2
        assert [event.outcome for event in proxies.events] == ["passed", "passed", "blocked"]
        assert [event.path for event in proxies.events] == ["/a", "/a", "/b"]

    asyncio.run(main())


def test_a_body_is_framed_anew() -> None:
    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        body = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        await writer.drain()

    async def main() -> None:
        async with server(collect) as port, Proxies(*ALLOWED).running() as proxies:
            request = (
                f"POST http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n0\r\nTrailer: x\r\n\r\n"
            )
            answer = await proxies.ask(request.encode())
        assert b"4\r\nabcd\r\n" in answer
        assert b"Trailer" not in answer
        assert b"x=y" not in answer

    asyncio.run(main())


@pytest.mark.parametrize("chunk", ["zz\r\nabc\r\n", "-1\r\n", "3\r\nabcdef", "3\nabc\n0\n\n"])
def test_bad_chunks_end_the_connection(chunk: str) -> None:
    async def main() -> None:
        async with server(echo) as port, Proxies(*ALLOWED).running() as proxies:
            request = (
                f"POST http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                f"Transfer-Encoding: chunked\r\n\r\n{chunk}"
            )
            await proxies.ask(request.encode())
        assert proxies.events[-1].outcome in (Outcome.MALFORMED, Outcome.FAILED)

    asyncio.run(main())


@pytest.mark.parametrize(
    "inner",
    [
        "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
        "\r\nCONNECT site.test:443 HTTP/1.1\r\nHost: site.test\r\n\r\n",
        "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "get / http/1.1\r\nhost: evil.test\r\n\r\n",
    ],
)
def test_what_a_tunnel_does_not_lead_to_is_refused_inside(inner: str) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async def main() -> None:
        async with (
            server(listen) as port,
            Proxies(*ALLOWED, "allow evil.test").running() as proxies,
        ):
            _, reader, writer = await proxies.connect("site.test", port)
            writer.write(inner.encode())
            assert (await reader.read()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
            writer.close()
        assert heard in ([], [b""])

    asyncio.run(main())


def test_a_websocket_turns_into_a_relay() -> None:
    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Upgrade: websocket\r\n" in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\n\r\nfirst"
        )
        await echo(reader, writer)

    async def main() -> None:
        async with server(upgrade) as port, Proxies(*ALLOWED).running() as proxies:
            answer = await proxies.ask(
                f"GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes".encode()
            )
        assert b" 101 " in answer
        assert b"firstframes" in answer

    asyncio.run(main())


def test_a_body_waits_until_the_server_wants_it() -> None:
    async def picky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"expect: 100-continue\r\n" in head
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)
        await writer.drain()

    async def main() -> None:
        async with server(picky) as port, Proxies(*ALLOWED).running() as proxies:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.explicit_port)
            writer.write(
                f"PUT http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                "Content-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode()
            )
            assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"abc")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"abc")
            writer.close()

    asyncio.run(main())


def test_an_answer_before_the_end_of_a_body_arrives() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def main() -> None:
        async with server(refuse) as port, Proxies(*ALLOWED).running() as proxies:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.explicit_port)
            writer.write(
                f"PUT http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\n"
                "Content-Length: 1000\r\n\r\nabc".encode()
            )
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
            writer.close()

    asyncio.run(main())


def test_a_server_that_is_gone_is_a_502() -> None:
    async def main() -> None:
        async with server(echo) as port:
            pass
        async with Proxies(*ALLOWED).running() as proxies:
            answer, _, writer = await proxies.connect("site.test", port)
            assert answer.startswith(b"HTTP/1.1 502 ")
            writer.close()
        assert proxies.events[0].outcome is Outcome.FAILED

    asyncio.run(main())


def test_a_slow_head_ends_by_itself() -> None:
    async def main() -> None:
        limits = Limits(head_timeout_s=0.05)
        async with Proxies(*ALLOWED, limits=limits).running() as proxies:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.explicit_port)
            writer.write(b"GET http://site.test/ HTTP/1.1\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            writer.close()
        assert proxies.events[0].outcome is Outcome.TIMEOUT

    asyncio.run(main())


def test_the_errors_of_this_file_can_fail() -> None:
    with pytest.raises(AssertionError), fails(OSError):
        pass
