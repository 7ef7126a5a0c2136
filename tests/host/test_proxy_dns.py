# SPDX-License-Identifier: Apache-2.0
"""DNS over real sockets, UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

from sbx.proxy.dns.answers import Answers
from sbx.proxy.dns.message import RecordType, build_query
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.dns_server import DnsServer
from sbx.proxy.events import Event, Outcome
from sbx.proxy.limits import Limits
from tests.unit.policy.factories import policy
from tests.unit.proxy.proxies import ask

QUERY = build_query(9, "example.com", RecordType.A)


@contextlib.asynccontextmanager
async def dns(events: list[Event], **limits: int) -> AsyncGenerator[tuple[socket.socket, int]]:
    """A connected UDP socket, and the port for TCP."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    tcp = socket.create_server(("127.0.0.1", 0))
    answers = Answers(lambda: policy("allow example.com"), StandIns())
    serving = DnsServer(answers, events.append, Limits(**limits)).serve(udp, tcp)
    task = asyncio.get_running_loop().create_task(serving)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    client.connect(udp.getsockname())
    try:
        yield client, tcp.getsockname()[1]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        client.close()
        udp.close()
        tcp.close()


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def test_udp_and_tcp_give_the_same_answer() -> None:
    async def main() -> None:
        events: list[Event] = []
        async with dns(events) as (client, port):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"rubbish that is no question")
            await loop.sock_recv(client, 4096)
            await loop.sock_sendall(client, QUERY)
            answer = await loop.sock_recv(client, 4096)
            assert answer[6:8] == b"\0\1"
            assert await ask(port, frame(QUERY) * 2) == frame(answer) * 2
        assert [event.outcome for event in events] == [
            Outcome.MALFORMED, Outcome.PASSED, Outcome.PASSED, Outcome.PASSED,
        ]  # fmt: skip

    asyncio.run(main())


def test_a_stream_of_garbage_ends() -> None:
    async def main() -> None:
        async with dns([]) as (_, port):
            assert await ask(port, b"\xff\xff" + b"x" * 70000) in (b"", b"(reset)")
            assert await ask(port, b"\0") == b""
            assert await ask(port, frame(b"short")) == b""

    asyncio.run(main())


def test_questions_beyond_the_rate_are_dropped() -> None:
    async def main() -> None:
        events: list[Event] = []
        async with dns(events, dns_per_second=3) as (_, port):
            answers = await ask(port, frame(QUERY) * 50)
        assert 3 <= len(events) < 50
        assert answers

    asyncio.run(main())
