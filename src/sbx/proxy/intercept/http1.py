# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on the guest's side of an intercepted connection."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from sbx.credential.scrub import Scrubber
from sbx.proxy.client import IdleLimit, Meter
from sbx.proxy.http.body import LAST_CHUNK, BadBodyError, Body, Chunked, NoBody, Sized, chunk
from sbx.proxy.http.head import BadRequestError, Form, RequestHead, head_end, read_head
from sbx.proxy.intercept.messages import Ask, Fields
from sbx.proxy.intercept.servers import Server
from sbx.proxy.intercept.session import BrokenError, Session
from sbx.proxy.intercept.stream import TlsStream
from sbx.proxy.limits import Limits


async def serve_http1(session: Session, stream: TlsStream) -> None:
    """Serve requests until the connection ends; the caller closes the socket."""
    buffer = bytearray()
    limits = session.guest.context.limits
    while True:
        sink = Http1Sink(stream, buffer)
        try:
            head = await _read_head(stream, buffer, limits)
            if head is None:
                return
            body = _framing(head)
        except BadRequestError as error:
            sink.closes = True
            await session.refuse(400, str(error), sink)
            return
        except TimeoutError:
            return
        source = Http1Source(stream, buffer, body)
        sink.start(head)
        try:
            await session.carry(_ask(head, body, source), sink, head.host)
        except BrokenError:
            return  # without the end of the answer and of TLS, the guest sees that it is cut off
        if sink.closes or not source.ended:
            await stream.close()
            return


class Http1Source:
    """The body of a request."""

    def __init__(self, stream: TlsStream, buffer: bytearray, body: Body) -> None:
        self._stream = stream
        self._buffer = buffer
        self._body = body

    @property
    def ended(self) -> bool:
        return self._body.done

    def take(self) -> bytes:
        return self._body.take(self._buffer)

    async def read(self) -> bytes:
        while not (data := self._body.take(self._buffer)) and not self._body.done:
            more = await self._stream.read()
            if not more:
                raise BadBodyError("the body of the request is cut off")
            self._buffer += more
        return data


class Http1Sink:
    """Writes one answer."""

    def __init__(self, stream: TlsStream, buffer: bytearray) -> None:
        self._stream = stream
        self._buffer = buffer  # what the guest sent behind its request
        self._waiting = b""  # the head, until it is known whether the body follows at once
        self._chunked = False
        self._minor = 1
        self.closes = False  # the connection ends after it

    def start(self, head: RequestHead) -> None:
        """The answer is to this request."""
        self._minor = head.minor_version
        words = {w.strip().lower() for n, v in head.fields if n == b"connection"
                 for w in v.split(b",")}  # fmt: skip
        self.closes = b"close" in words or (self._minor == 0 and b"keep-alive" not in words)

    async def informational(self, status: int, fields: Fields) -> None:
        if self._minor:
            await self._stream.write(_head(status, fields))

    async def head(self, status: int, fields: Fields, *, length: int | None, empty: bool) -> None:
        kept = list(fields)
        if length is not None and status != 204:
            kept.append((b"content-length", b"%d" % length))
        elif not empty and self._minor:
            self._chunked = True
            kept.append((b"transfer-encoding", b"chunked"))
        elif not empty:
            self.closes = True
        kept.append((b"connection", b"close" if self.closes else b"keep-alive"))
        self._waiting = _head(status, kept)

    async def data(self, data: bytes) -> None:
        await self._stream.write(self._framed(data))

    async def flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            await self._stream.write(waiting)

    async def end(self, data: bytes = b"") -> None:
        rest = self._framed(data)
        if self._chunked:
            rest += LAST_CHUNK
        if rest:
            await self._stream.write(rest)

    def _framed(self, data: bytes) -> bytes:
        waiting, self._waiting = self._waiting, b""
        return waiting + (chunk(data) if self._chunked else data)

    async def relay(self, server: Server, scrubber: Scrubber, limits: Limits, meter: Meter) -> None:
        """Pass another protocol both ways until one side ends (TimeoutError, OSError)."""
        self.closes = True
        async with IdleLimit(limits) as idle:
            up = asyncio.ensure_future(self._up(server, idle, meter))
            down = asyncio.ensure_future(self._down(server, scrubber, idle, meter))
            try:
                done, _ = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
            for task in done:
                task.result()

    async def _up(self, server: Server, idle: IdleLimit, meter: Meter) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        while data or (data := await self._stream.read()):
            idle.touch()
            meter.sent_bytes += len(data)
            await server.stream.write(data)
            data = b""

    async def _down(
        self, server: Server, scrubber: Scrubber, idle: IdleLimit, meter: Meter
    ) -> None:
        data = bytes(server.buffer)
        while data or (data := await server.stream.read()):
            idle.touch()
            if clean := scrubber.feed(data):
                meter.received_bytes += len(clean)
                await self._stream.write(clean)
            data = b""
        await self._stream.write(scrubber.finish())


async def _read_head(stream: TlsStream, buffer: bytearray, limits: Limits) -> RequestHead | None:
    if not buffer:
        async with asyncio.timeout(limits.keep_alive_s):
            if not (data := await stream.read()):
                return None
        buffer += data
    end = head_end(buffer)
    if end is None:
        async with asyncio.timeout(limits.head_timeout_s):
            while (end := head_end(buffer)) is None:
                if not (data := await stream.read()):
                    raise BadRequestError("the head of the request is cut off")
                buffer += data
    head = read_head(bytes(buffer[:end]))
    del buffer[:end]
    if head.form is not Form.ORIGIN:
        raise BadRequestError("the target of a request over TLS is a path")
    return head


def _framing(head: RequestHead) -> Body:
    for name, value in head.fields:
        if name == b"transfer-encoding":
            return Chunked()
        if name == b"content-length":
            return Sized(int(value))
    return NoBody()


def _ask(head: RequestHead, body: Body, source: Http1Source) -> Ask:
    said = next((int(v) for n, v in head.fields if n == b"content-length"), None)
    expects = any(n == b"expect" and v.lower() == b"100-continue" for n, v in head.fields)
    return Ask(
        method=head.method,
        target=head.target,
        fields=head.fields,
        length=0 if said is None and isinstance(body, NoBody) and _posts(head) else said,
        body=source,
        upgrade=head.upgrade,
        expects=expects and not body.done,
    )


def _posts(head: RequestHead) -> bool:
    return head.method in ("POST", "PUT", "PATCH")


def _head(status: int, fields: Fields) -> bytes:
    try:
        reason = HTTPStatus(status).phrase.encode()
    except ValueError:
        reason = b""
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines)
