# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 on the guest's side of an intercepted connection (RFC 9113); `h2` does the frames.

Requests go on as HTTP/1.1, so whatever a field could smuggle into that is refused here. Windows are
opened only as far as a body was passed on: a server that waits makes the guest wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from sbx.credential.scrub import Scrubber
from sbx.policy.hosts import BadHostError, Host, parse_host, split_port
from sbx.proxy.client import Meter
from sbx.proxy.http.head import MAX_FIELDS, MAX_HEAD, MAX_TARGET
from sbx.proxy.intercept.messages import Ask, Fields
from sbx.proxy.intercept.servers import Server
from sbx.proxy.intercept.session import BrokenError, Session
from sbx.proxy.intercept.stream import TlsStream
from sbx.proxy.limits import Limits

MAX_STREAMS = 64  # at once
MAX_REQUESTS = 10_000  # of one connection; a client then makes another one
MAX_RESETS = 200  # of requests that were still being answered (CVE-2023-44487)
_WINDOW = 256 * 1024  # bytes of each body that may wait here
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_TARGET = re.compile(rb"/[!-~]*")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")


class _BadRequestError(Exception):
    """A request that is answered with 400."""


async def serve_http2(session: Session, stream: TlsStream) -> None:
    """Serve requests until the connection ends; the caller closes the socket."""
    await Http2Connection(session, stream).serve()


class Http2Connection:
    """One connection and its streams."""

    def __init__(self, session: Session, stream: TlsStream) -> None:
        self._session = session
        self._stream = stream
        self._sending = asyncio.Lock()
        self._sources: dict[int, Http2Source] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()  # set and made anew whenever a window opens
        self._requests = 0
        self._resets = 0
        self.h2 = H2Connection(
            H2Configuration(client_side=False, header_encoding=False, validate_inbound_headers=True)
        )

    async def serve(self) -> None:
        self.h2.initiate_connection()
        self.h2.update_settings(
            {
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
            }
        )
        self.h2.increment_flow_control_window(_WINDOW * 3)
        try:
            await self.flush()
            while data := await self._read():
                for event in self.h2.receive_data(data):
                    self._on(event)
                await self.flush()
                if self._requests >= MAX_REQUESTS or self._resets >= MAX_RESETS:
                    self.h2.close_connection(
                        ErrorCodes.ENHANCE_YOUR_CALM if self._resets >= MAX_RESETS else 0
                    )
                    await self.flush()
                    return
        except ProtocolError:
            with contextlib.suppress(OSError):
                await self.flush()  # what it was that broke the protocol
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            return
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(OSError):
                await self._stream.close()

    async def _read(self) -> bytes:
        limits = self._session.guest.context.limits
        async with asyncio.timeout(limits.idle_timeout_s if self._tasks else limits.keep_alive_s):
            return await self._stream.read()

    async def flush(self) -> None:
        """Send the frames that are ready."""
        async with self._sending:
            while data := self.h2.data_to_send():
                await self._stream.write(data)

    async def window(self, stream_id: int) -> int:
        """How much may be sent on a stream now; waits until it is something."""
        while (size := self.h2.local_flow_control_window(stream_id)) <= 0:
            room = self._room
            await room.wait()
        return min(size, self.h2.max_outbound_frame_size)

    def consumed(self, stream_id: int, size: int) -> None:
        """So much of a body was passed on: the guest may send more."""
        with contextlib.suppress(ProtocolError, KeyError):
            self.h2.acknowledge_received_data(size, stream_id)

    def _on(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event)
            case DataReceived():
                source = self._sources.get(_id(event.stream_id))
                size = event.flow_controlled_length or 0
                if source is None:
                    self.consumed(_id(event.stream_id), size)
                else:
                    source.put(event.data or b"", size)
            case StreamEnded():
                if source := self._sources.get(_id(event.stream_id)):
                    source.finish()
            case StreamReset():
                self._cancel(_id(event.stream_id))
            case WindowUpdated():
                self._open()
            case ConnectionTerminated():
                for stream_id in list(self._tasks):
                    self._cancel(stream_id)
            case _:
                self._open()  # settings may change windows

    def _open(self) -> None:
        self._room.set()
        self._room = asyncio.Event()

    def _cancel(self, stream_id: int) -> None:
        task = self._tasks.get(stream_id)
        if task is not None and not task.done():
            self._resets += 1
            task.cancel()

    def _begin(self, event: RequestReceived) -> None:
        stream_id = _id(event.stream_id)
        self._requests += 1
        source = self._sources[stream_id] = Http2Source(self, stream_id)
        if event.stream_ended is not None:
            source.finish()
        task = asyncio.ensure_future(self._serve(stream_id, list(event.headers or ()), source))
        self._tasks[stream_id] = task
        task.add_done_callback(lambda _: self._forget(stream_id))

    def _forget(self, stream_id: int) -> None:
        self._tasks.pop(stream_id, None)
        source = self._sources.pop(stream_id, None)
        if source is not None:
            source.discard()

    async def _serve(
        self, stream_id: int, headers: list[tuple[bytes, bytes]], source: Http2Source
    ) -> None:
        sink = Http2Sink(self, stream_id)
        try:
            try:
                ask, host = _ask(headers, source, self._session)
            except _BadRequestError as error:
                await self._session.refuse(400, str(error), sink)
            else:
                await self._session.carry(ask, sink, host)
            if not source.ended:  # what still comes of the body is of no use
                self._reset(stream_id, ErrorCodes.NO_ERROR)
        except BrokenError:
            self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
        except (ProtocolError, OSError, KeyError):
            return  # the stream, or the connection, is gone
        with contextlib.suppress(OSError):
            await self.flush()

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError, KeyError):
            self.h2.reset_stream(stream_id, code)


class Http2Source:
    """The body of a request; what waits in it is bounded by the window."""

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self._connection = connection
        self._id = stream_id
        self._waiting: list[bytes] = []
        self._sizes = 0
        self._finished = False
        self._more = asyncio.Event()

    def put(self, data: bytes, size: int) -> None:
        self._waiting.append(data)
        self._sizes += size
        self._more.set()

    def finish(self) -> None:
        self._finished = True
        self._more.set()

    def discard(self) -> None:
        """Nobody reads it any more."""
        self.take()

    @property
    def ended(self) -> bool:
        return self._finished and not self._waiting

    def take(self) -> bytes:
        data = b"".join(self._waiting)
        self._waiting.clear()
        size, self._sizes = self._sizes, 0
        if size:
            self._connection.consumed(self._id, size)
        return data

    async def read(self) -> bytes:
        while not (data := self.take()) and not self._finished:
            self._more.clear()
            await self._connection.flush()  # the window that was opened
            await self._more.wait()
        return data


class Http2Sink:
    """Writes one answer."""

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self._connection = connection
        self._id = stream_id
        self._ended = False

    async def informational(self, status: int, fields: Fields) -> None:
        if status == 101:
            raise BrokenError("HTTP/2 has no upgrades")
        self._connection.h2.send_headers(self._id, [(b":status", b"%d" % status), *fields])
        await self._connection.flush()

    async def head(self, status: int, fields: Fields, *, length: int | None, empty: bool) -> None:
        kept = [(b":status", b"%d" % status), *fields]
        if length is not None and status != 204:
            kept.append((b"content-length", b"%d" % length))
        self._ended = empty
        self._connection.h2.send_headers(self._id, kept, end_stream=empty)

    async def data(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            size = await self._connection.window(self._id)
            self._connection.h2.send_data(self._id, bytes(view[:size]))
            view = view[size:]
            await self._connection.flush()

    async def flush(self) -> None:
        await self._connection.flush()

    async def end(self, data: bytes = b"") -> None:
        await self.data(data)
        if not self._ended:
            self._connection.h2.end_stream(self._id)
        await self._connection.flush()

    async def relay(self, server: Server, scrubber: Scrubber, limits: Limits, meter: Meter) -> None:
        raise BrokenError("HTTP/2 has no upgrades")


def _ask(
    headers: list[tuple[bytes, bytes]], source: Http2Source, session: Session
) -> tuple[Ask, Host]:
    """A request and the host that it names.

    Raises:
        _BadRequestError: it could be read in two ways, or not be said in HTTP/1.1.
    """
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    fields = [(bytes(n), bytes(v)) for n, v in headers if not n.startswith(b":")]
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if pseudo.keys() - {b":method", b":path", b":scheme", b":authority"}:
        raise _BadRequestError("the request has an unknown pseudo field")
    if not _METHOD.fullmatch(method) or method.upper() == b"CONNECT":
        raise _BadRequestError("the method of the request is malformed, or CONNECT")
    if pseudo.get(b":scheme") != b"https":
        raise _BadRequestError("the scheme of the request is not https")
    if not _TARGET.fullmatch(target) or b"#" in target or len(target) > MAX_TARGET:
        raise _BadRequestError("the target of the request is malformed")
    if len(fields) > MAX_FIELDS or sum(len(n) + len(v) + 32 for n, v in fields) > MAX_HEAD:
        raise _BadRequestError("the head of the request is too long")
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or value != value.strip(b" \t"):
            raise _BadRequestError("a field of the request is malformed")
    host = _host(pseudo.get(b":authority"), fields, session)
    crumbs = [value for name, value in fields if name == b"cookie"]
    kept = [f for f in fields if f[0] != b"cookie"]
    if crumbs:  # RFC 9113, 8.2.3
        kept.append((b"cookie", b"; ".join(crumbs)))
    said = [value for name, value in fields if name == b"content-length"]
    if len(said) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", value) for value in said):
        raise _BadRequestError("the content length is malformed")
    length = int(said[0]) if said else None
    if source.ended and length:
        raise _BadRequestError("the body of the request is shorter than it says")
    ask = Ask(
        method=method.decode(),
        target=target.decode(),
        fields=tuple(kept),
        length=length,
        body=source,
    )
    return ask, host


def _host(authority: bytes | None, fields: list[tuple[bytes, bytes]], session: Session) -> Host:
    said = [value for name, value in fields if name == b"host"]
    if authority is not None:
        said.append(authority)
    if not said or len(set(said)) > 1:
        raise _BadRequestError("the request names no host, or two")
    try:
        text, port = split_port(said[0].decode("ascii"))
        host = parse_host(text)
    except (UnicodeDecodeError, BadHostError) as error:
        raise _BadRequestError("the request names no host") from error
    if port not in (None, session.to.port):
        raise _BadRequestError("the port of the request is not that of the connection")
    return host


def _id(stream_id: int | None) -> int:
    return stream_id or 0
