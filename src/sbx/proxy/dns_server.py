# SPDX-License-Identifier: Apache-2.0
"""DNS over UDP and TCP, on sockets that were made in the sandbox's network namespace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from sbx.policy.rules import Decision
from sbx.proxy.accept import Acceptor
from sbx.proxy.dns.answers import Answers, Reply
from sbx.proxy.dns.message import MAX_MESSAGE
from sbx.proxy.events import Event, Outcome, Via
from sbx.proxy.limits import Limits
from sbx.system.text import printable

OnEvent = Callable[[Event], None]

_STREAM_IDLE_S = 10.0
_QUERIES_PER_STREAM = 1000


class Bucket:
    """So many questions a second; a burst of the same size passes at once."""

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = float(per_second)
        self._filled = clock()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = self._clock()
        earned = (now - self._filled) * self._per_second
        self._tokens = min(float(self._per_second), self._tokens + earned)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class DnsServer:
    """Answers the guest's questions."""

    def __init__(self, answers: Answers, on_event: OnEvent, limits: Limits) -> None:
        self._answers = answers
        self._on_event = on_event
        self._limits = limits
        self._bucket = Bucket(limits.dns_per_second, asyncio.get_running_loop().time)

    async def serve(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Serve both sockets until cancelled."""
        udp.settimeout(0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.reply), sock=udp)
        try:
            await Acceptor(tcp, self._stream, self._limits.max_dns_streams).serve()
        finally:
            transport.close()

    def reply(self, data: bytes) -> bytes | None:
        """The answer to a message, or None for silence."""
        if not self._bucket.take():
            return None
        reply = self._answers.answer(data)
        if reply.decision is not None or reply.malformed:
            self._on_event(_event(reply, reply.decision))
        return reply.data

    async def _stream(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        buffer = b""
        for _ in range(_QUERIES_PER_STREAM):
            async with asyncio.timeout(_STREAM_IDLE_S):
                while (size := _frame(buffer)) is None or len(buffer) < size:
                    if size is not None and size > MAX_MESSAGE + 2:
                        return
                    data = await loop.sock_recv(sock, MAX_MESSAGE)
                    if not data:
                        return
                    buffer += data
                answer = self.reply(buffer[2:size])
                buffer = buffer[size:]
                if answer is None:
                    return
                await loop.sock_sendall(sock, len(answer).to_bytes(2) + answer)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply: Callable[[bytes], bytes | None]) -> None:
        self._reply = reply
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before Python 3.12 the transport does not say that it is one for datagrams.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if self._transport is None or self._full:
            return  # the client asks again
        if (answer := self._reply(data)) is not None:
            self._transport.sendto(answer, addr)


def _frame(buffer: bytes) -> int | None:
    return 2 + int.from_bytes(buffer[:2]) if len(buffer) >= 2 else None


def _event(reply: Reply, decision: Decision | None) -> Event:
    outcome = Outcome.MALFORMED
    if decision is not None:
        outcome = Outcome.PASSED if decision.allowed else Outcome.BLOCKED
    return Event(
        via=Via.DNS,
        outcome=outcome,
        name=printable(reply.name),
        decision=decision,
        detail=reply.malformed,
    )
