# SPDX-License-Identifier: Apache-2.0
"""One request with its credentials to the server, and its answer without them back.

Both stream: a piece is passed on when it is there, and nothing is read that there is no room for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from sbx.credential.inject import Grant, put_in, seen_in
from sbx.credential.scrub import Needles, Scrubber
from sbx.policy.hosts import Endpoint, show_host
from sbx.proxy.client import IdleLimit, Meter
from sbx.proxy.http.answer import AnswerHead, BadHeadError, answer_end, parse_answer
from sbx.proxy.http.body import LAST_CHUNK, BadBodyError, UntilEnd, chunk
from sbx.proxy.http.forward import HOP_BY_HOP
from sbx.proxy.http.head import tokens
from sbx.proxy.intercept.decoding import BadCodingError, decoder
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.intercept.messages import Ask, Sink
from sbx.proxy.intercept.servers import Server
from sbx.proxy.limits import Limits

HTTPS_PORT = 443
_NOT_SENT_ON = HOP_BY_HOP | {b"host", b"content-length", b"transfer-encoding", b"expect"}
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class ServerFaultError(Exception):
    """The server broke off, or its answer cannot be read."""

    def __init__(self, why: str, *, started: bool) -> None:
        super().__init__(why)
        self.why = why
        self.started = started  # the guest has a part of it already


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Carries one request."""

    ask: Ask
    sink: Sink
    server: Server
    grants: tuple[Grant, ...]
    interception: Interception
    limits: Limits
    meter: Meter
    to: Endpoint
    started: bool = False  # of the answer
    keeps: bool = False  # the server's connection may be used again
    switched: bool = False  # it now speaks another protocol
    taken_out: int = 0  # values that the answer held
    _failed: BadBodyError | None = None
    _has_body: bool = False

    async def run(self) -> None:
        """Carry it.

        Raises:
            ServerFaultError: the server's fault.
            BadBodyError: the body of the request cannot be read; a part of it is sent.
            TimeoutError: nothing moved for too long.
            OSError: the guest's connection broke off.
        """
        async with IdleLimit(self.limits) as idle:
            await self._send(self._head() + self._piece(self.ask.body.take()))
            if self.ask.body.ended:
                await self._answer(idle)
                return
            body = asyncio.ensure_future(self._send_body(idle))
            try:
                await self._answer(idle)
            except ServerFaultError as error:
                if self._failed is not None:
                    raise self._failed from error
                raise
            finally:
                self.keeps = self.keeps and body.done() and self._failed is None
                body.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await body

    def needles(self) -> Needles:
        return self.interception.needles

    def _head(self) -> bytes:
        ask = self.ask
        host = show_host(self.to.host) if self.to.port == HTTPS_PORT else str(self.to)
        kept = [f for f in ask.fields if f[0] not in _NOT_SENT_ON]
        if self.needles() or self.grants:
            # What is compressed cannot be looked through.
            kept = [
                f for f in kept if f[0] not in (b"accept-encoding", b"sec-websocket-extensions")
            ]
            kept.append((b"accept-encoding", b"identity"))
        kept = put_in(kept, self.grants)
        if ask.upgrade:
            kept += [(b"connection", b"Upgrade"), (b"upgrade", ask.upgrade.encode())]
        self._has_body = not ask.body.ended or bool(ask.length)
        if self._has_body:
            framing = (
                (b"transfer-encoding", b"chunked")
                if ask.length is None
                else (b"content-length", b"%d" % ask.length)
            )
            kept.append(framing)
            if ask.expects:
                kept.append((b"expect", b"100-continue"))
        elif ask.length is not None or ask.method in ("POST", "PUT", "PATCH"):
            kept.append((b"content-length", b"0"))
        lines = b"".join(b"%b: %b\r\n" % f for f in kept)
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (
            ask.method.encode(),
            ask.target.encode(),
            host.encode(),
            lines,
        )

    async def _send_body(self, idle: IdleLimit) -> None:
        try:
            while not self.ask.body.ended:
                data = await self.ask.body.read()
                idle.touch()
                await self._send(self._piece(data))
        except (BadBodyError, OSError) as error:
            self._failed = error if isinstance(error, BadBodyError) else BadBodyError(str(error))
            with contextlib.suppress(OSError):  # wakes the one who waits for the answer
                self.server.stream.sock.shutdown(socket.SHUT_RDWR)

    def _piece(self, data: bytes) -> bytes:
        """A piece of the body as it is sent, its end included."""
        found = seen_in(self.interception.bindings, data) if data else None
        if found is not None and found.name not in self.ask.notes:
            self.ask.notes.append(found.name)
        if self.ask.length is not None:
            return data
        return chunk(data) + (LAST_CHUNK if self.ask.body.ended and self._has_body else b"")

    async def _send(self, data: bytes) -> None:
        if not data:
            return
        self.meter.sent_bytes += len(data)
        try:
            await self.server.stream.write(data)
        except OSError:
            return  # the answer tells: a server may refuse a body and end

    async def _answer(self, idle: IdleLimit) -> None:
        while True:
            head = await self._read_head(idle)
            if head.status == 101:
                if not self.ask.upgrade:
                    raise self._fault("the server changes the protocol unasked")
                self.switched = True
                self.started = True
                fields = [f for f in self._clean(head) if f[0] not in _LENGTHS]
                up = [(b"connection", b"Upgrade"), (b"upgrade", self.ask.upgrade.encode())]
                await self.sink.informational(101, fields + up)
                return
            if head.status >= 200:
                break
            if head.status in (100, 103):
                await self.sink.informational(head.status, ())
        await self._body(head, idle)

    async def _body(self, head: AnswerHead, idle: IdleLimit) -> None:
        body = head.body(self.ask.method)
        scrubber = Scrubber(self.needles())
        fields = [f for f in self._clean(head) if f[0] not in _LENGTHS]
        length = head.length
        coding = b",".join(v for name, v in head.fields if name == b"content-encoding")
        try:
            unpack = decoder(b"" if body.done or not self.needles() else coding)
        except BadCodingError as error:
            raise self._fault(str(error)) from error
        if self.needles() and not body.done:
            fields = [
                f for f in fields if f[0] not in (b"content-encoding", b"content-md5", b"digest")
            ]
            length = None  # what is taken out, and what stands there then, differ in length
        self.started = True
        await self.sink.head(head.status, fields, length=length, empty=body.done)
        buffer, data, last = self.server.buffer, b"", b""
        try:
            while True:
                if buffer or not data:
                    data = body.take(buffer)
                for piece in unpack.feed(data) if data else ():
                    if clean := scrubber.feed(piece):
                        await self._pass_on(last)
                        last = clean
                if body.done:
                    break
                await self._pass_on(last)
                last = b""
                if not data or not buffer:
                    await self.sink.flush()
                    data = await self._receive(idle)
                    if not data:
                        body.end_of_input()
                        break
                    if buffer or not body.passes(data):
                        buffer += data
        except (BadBodyError, BadCodingError) as error:
            raise self._fault(f"the body of the answer: {error}") from error
        last += scrubber.finish()
        self.meter.received_bytes += len(last)
        await self.sink.end(last)  # together with the end: one record, one packet
        self.taken_out += scrubber.count
        self.keeps = head.keeps and not isinstance(body, UntilEnd) and not buffer

    async def _pass_on(self, data: bytes) -> None:
        if data:
            self.meter.received_bytes += len(data)
            await self.sink.data(data)

    async def _read_head(self, idle: IdleLimit) -> AnswerHead:
        buffer = self.server.buffer
        try:
            while (end := answer_end(buffer)) is None:
                if not (data := await self._receive(idle)):
                    raise self._fault("the server ended without an answer")
                buffer += data
            head = parse_answer(bytes(buffer[:end]))
        except BadHeadError as error:
            raise self._fault(f"the answer of the server cannot be read: {error}") from error
        del buffer[:end]
        return head

    async def _receive(self, idle: IdleLimit) -> bytes:
        try:
            data = await self.server.stream.read()
        except OSError as error:
            raise self._fault(f"the connection to the server broke off: {error}") from error
        idle.touch()
        return data

    def _clean(self, head: AnswerHead) -> list[tuple[bytes, bytes]]:
        """The fields of an answer as the guest gets them."""
        gone = HOP_BY_HOP | set(tokens(list(head.fields), b"connection")) - _LENGTHS
        scrubber = Scrubber(self.needles())
        fields = [(name, scrubber.text(value)) for name, value in head.fields if name not in gone]
        self.taken_out += scrubber.count
        return fields

    def _fault(self, why: str) -> ServerFaultError:
        return ServerFaultError(why, started=self.started)
