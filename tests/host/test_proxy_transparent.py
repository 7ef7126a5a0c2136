# SPDX-License-Identifier: Apache-2.0
"""Redirected connections with real sockets: names, relays, ends, and changes of the policy."""

from __future__ import annotations

import asyncio
import contextlib
import random
from ipaddress import IPv4Address

import pytest

from sbx.proxy.events import Outcome
from sbx.proxy.limits import Limits
from tests.unit.policy.factories import policy as compiled
from tests.unit.policy.factories import rule
from tests.unit.proxy.hellos import hello
from tests.unit.proxy.proxies import LOOPBACK, Proxies, echo, hello_web, server

ALLOWED = ("allow site.test", LOOPBACK)
BINARY = b"\0\1\2\xff" * 10


def test_any_protocol_passes_to_the_name_of_a_stand_in() -> None:
    async def main() -> None:
        async with server(echo) as port, Proxies(*ALLOWED).running() as proxies:
            proxies.lead_to("site.test", port)
            assert await proxies.pass_through(BINARY) == BINARY
            event = await proxies.ended()
            assert (event.sent_bytes, event.received_bytes) == (len(BINARY), len(BINARY))
            assert str(event.to) == f"site.test:{port}"
            assert event.outcome is Outcome.PASSED

    asyncio.run(main())


def test_a_server_may_speak_first() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await echo(reader, writer)

    async def main() -> None:
        async with server(greet) as port, Proxies(*ALLOWED).running() as proxies:
            proxies.lead_to("site.test", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.transparent_port)
            assert await reader.readline() == b"220 ready\r\n"
            writer.write(b"EHLO x\r\n")
            assert await reader.readline() == b"EHLO x\r\n"
            writer.close()
            await proxies.ended()

    asyncio.run(main())


@pytest.mark.parametrize("first", ["client", "server"])
def test_either_side_may_end_first(first: str) -> None:
    """What the other side still says after that arrives whole."""
    size = 3_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if first == "server":
            writer.write(b"bye")
            writer.write_eof()
            taken.append(len(await reader.read()))
        else:
            taken.append(len(await reader.read()))
            writer.write(bytes(size))
            await writer.drain()
        done.set()

    async def main() -> None:
        async with server(serve) as port, Proxies(*ALLOWED).running() as proxies:
            proxies.lead_to("site.test", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.transparent_port)
            if first == "server":
                assert await reader.read() == b"bye"
                writer.write(bytes(size))
                writer.write_eof()
            else:
                writer.write(BINARY)
                writer.write_eof()
                assert len(await reader.read()) == size
            event = await proxies.ended()
            writer.close()
            await done.wait()
        expected = (size, 3) if first == "server" else (len(BINARY), size)
        assert (event.sent_bytes, event.received_bytes) == expected
        assert taken == [expected[0]]

    taken: list[int] = []
    done = asyncio.Event()
    asyncio.run(main())


def test_a_slow_reader_holds_the_server_back() -> None:
    written = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            written += 65536
            moved.set()

    async def main() -> None:
        async with server(flood) as port, Proxies(*ALLOWED).running() as proxies:
            proxies.lead_to("site.test", port)
            _, writer = await asyncio.open_connection(
                "127.0.0.1", proxies.transparent_port, limit=1
            )
            with contextlib.suppress(TimeoutError):
                while True:  # until nothing moves any more: the buffers of the kernel are full
                    moved.clear()
                    async with asyncio.timeout(0.3):
                        await moved.wait()
            assert 0 < written < 64 * 1024 * 1024
            writer.close()

    moved = asyncio.Event()
    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (hello(b"other.test"), bytes([21, 3, 3, 0, 2, 2, 49])),
        (hello(), bytes([21, 3, 3, 0, 2, 2, 49])),
        (b"\x16\x03\x01\0\x05hello", bytes([21, 3, 3, 0, 2, 2, 49])),
        (b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", b"HTTP/1.1 403 "),
        (b"GET / HTTP/1.1\r\nHost: site.test:1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 403 "),
        (b"GET / HTTP/1.1\r\nHost: site.test\r\nHost: other.test\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\nGET / HTTP/1.1\r\nHost: other.test\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
def test_another_name_than_the_stand_in_is_refused(said: bytes, answer: bytes) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async def main() -> None:
        async with (
            server(listen) as port,
            Proxies(*ALLOWED, "allow other.test").running() as proxies,
        ):
            proxies.lead_to("site.test", port)
            assert (await proxies.pass_through(said)).startswith(answer)
            event = await proxies.ended()
            assert event.outcome in (Outcome.BLOCKED, Outcome.MALFORMED)
        assert heard in ([], [b""])

    asyncio.run(main())


def test_the_second_request_of_a_connection_is_decided_too() -> None:
    async def main() -> None:
        async with server(hello_web) as port, Proxies(*ALLOWED).running() as proxies:
            proxies.lead_to("site.test", port)
            answer = await proxies.pass_through(
                b"GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n"
                b"GET /b HTTP/1.1\r\nHost: evil.test\r\n\r\n"
            )
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 403 ") == 1

    asyncio.run(main())


def test_rules_about_requests_hold_and_what_is_unreadable_is_blocked() -> None:
    async def main() -> None:
        async with server(hello_web) as port, Proxies().running() as proxies:
            proxies.policy = compiled(rule("allow site.test", methods="GET", path="/ok"), LOOPBACK)
            proxies.lead_to("site.test", port)
            request = b"%s %s HTTP/1.1\r\nHost: site.test\r\n\r\n"
            assert (await proxies.pass_through(request % (b"GET", b"/ok"))).startswith(
                b"HTTP/1.1 200"
            )
            for method, path in ((b"POST", b"/ok"), (b"GET", b"/no"), (b"GET", b"/ok/%2e%2e/x")):
                answer = await proxies.pass_through(request % (method, path))
                assert answer.startswith(b"HTTP/1.1 403 ")
            assert await proxies.pass_through(BINARY) in (b"", b"(reset)")
            assert (await proxies.pass_through(hello(b"site.test")))[:1] == b"\x15"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("192.168.127.1", "allow localhost"), ("127.0.0.1", LOOPBACK)],
)
def test_the_host_is_reached_by_a_rule_that_names_it_only(address: str, allowed: str) -> None:
    async def main() -> None:
        async with server(echo) as port, Proxies("allow **").running() as proxies:
            proxies.original = (IPv4Address(address), port)
            assert await proxies.pass_through(BINARY) in (b"", b"(reset)")
            proxies.change(allowed)
            assert await proxies.pass_through(BINARY) == BINARY

    asyncio.run(main())


def test_a_stand_in_of_no_name_leads_nowhere() -> None:
    async def main() -> None:
        async with Proxies("allow **").running() as proxies:
            proxies.original = (IPv4Address("198.18.3.4"), 80)
            answer = await proxies.pass_through(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403 ")
        assert proxies.asked == []

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["opaque", "http"])
def test_a_tightened_policy_cuts_a_download(kind: str) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if kind == "http":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async def main() -> None:
        rules = (*ALLOWED, "allow other.test")
        async with server(flood) as port, Proxies(*rules).running() as proxies:
            proxies.lead_to("site.test", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", proxies.transparent_port)
            writer.write(b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n" if kind == "http" else BINARY)
            await reader.readexactly(1_000_000)
            assert proxies.change(*ALLOWED) == 0
            assert proxies.change("allow other.test", LOOPBACK) == 1
            with contextlib.suppress(OSError):
                while await reader.read(1_000_000):
                    pass
            event = await proxies.ended()
            assert event.outcome is Outcome.CUT
            assert event.decision is not None
            assert not event.decision.allowed
            writer.close()

    asyncio.run(main())


def test_an_idle_connection_ends() -> None:
    async def main() -> None:
        limits = Limits(idle_timeout_s=0.05)
        async with server(echo) as port, Proxies(*ALLOWED, limits=limits).running() as proxies:
            proxies.lead_to("site.test", port)
            for said in (b"", BINARY):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", proxies.transparent_port
                )
                writer.write(said)
                with contextlib.suppress(OSError):
                    await reader.read()
                writer.close()
            assert (await proxies.ended(2)).outcome is Outcome.TIMEOUT

    asyncio.run(main())


def test_more_connections_than_allowed_wait_their_turn() -> None:
    async def main() -> None:
        limits = Limits(max_connections=50)
        async with server(echo) as port, Proxies(*ALLOWED, limits=limits).running() as proxies:
            proxies.lead_to("site.test", port)
            some = asyncio.Semaphore(400)  # descriptors of the test itself

            async def one() -> bytes:
                async with some:
                    return await proxies.pass_through(BINARY)

            answers = await asyncio.gather(*(one() for _ in range(1000)))
            assert set(answers) == {BINARY}
            assert proxies.transparent.peak <= 50
            await proxies.ended(1000)

    asyncio.run(main())


def test_garbage_takes_nothing_down() -> None:
    async def main() -> None:
        dice = random.Random(4)  # noqa: S311 - not for secrets
        starts = (
            b"",
            b"\x16\x03\x01",
            b"GET / HTTP/1.1\r\n",
            b"CONNECT ",
            b"POST http://site.test",
        )
        limits = Limits(head_timeout_s=0.2, linger_s=0.2)
        async with server(echo) as port, Proxies(*ALLOWED, limits=limits).running() as proxies:
            for number in range(150):
                data = starts[number % len(starts)] + dice.randbytes(dice.randrange(200))
                proxies.lead_to("site.test", port)
                await proxies.ask(data)
                await proxies.pass_through(data)
            proxies.lead_to("site.test", port)
            assert await proxies.pass_through(BINARY) == BINARY

    asyncio.run(main())
