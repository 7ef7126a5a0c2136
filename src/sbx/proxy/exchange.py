# SPDX-License-Identifier: Apache-2.0
"""One request and its answer, streamed both ways; WebSocket upgrades turn into a relay."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import h11

from sbx.policy.hosts import Endpoint
from sbx.proxy.client import Client, IdleLimit, Meter, relay
from sbx.proxy.http.forward import response_fields, upstream_request
from sbx.proxy.http.head import MAX_HEAD, BadRequestError, RequestHead

_Sendable = h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage


class BadAnswerError(Exception):
    """The server broke off, or its answer cannot be read."""

    def __init__(self, why: str, *, started: bool) -> None:
        super().__init__(why)
        self.started = started  # the guest has a part of it already


class Exchange:
    """Carries one request to the server and its answer back."""

    def __init__(
        self,
        client: Client,
        upstream: socket.socket,
        head: RequestHead,
        framing: h11.Connection,
        meter: Meter,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._head = head
        self._framing = framing  # of the guest's side
        self._server = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._meter = meter
        self._started = False
        self._bad_request: BadRequestError | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self, to: Endpoint) -> bool:
        """Carry it; whether the guest's connection may carry another.

        Raises:
            BadAnswerError: the server's fault.
            BadRequestError: the body cannot be read; a part of it is sent.
            TimeoutError: nothing moved for too long.
        """
        async with IdleLimit(self._client.limits) as idle:
            await self._to_server(self._server.send(upstream_request(self._head, to)))
            failed: Exception | None = None  # raised below: a task group would wrap it
            switched = False
            async with asyncio.TaskGroup() as tasks:
                body = tasks.create_task(self._send_body(idle), name="body of a request")
                try:
                    switched = await self._answer(idle)
                except (BadAnswerError, OSError) as error:
                    failed = error
                body.cancel()
        if failed is not None:
            raise self._bad_request or failed
        if switched:
            first = self._server.trailing_data[0]
            self._client.pending = bytearray(self._framing.trailing_data[0])
            await relay(self._client, self._upstream, self._meter, first=first)
            return False
        return self._again()

    def _again(self) -> bool:
        framing = self._framing
        if framing.our_state is not h11.DONE or framing.their_state is not h11.DONE:
            return False
        self._client.pending = bytearray(framing.trailing_data[0])
        return True

    async def _send_body(self, idle: IdleLimit) -> None:
        try:
            while True:
                event = self._framing.next_event()
                idle.touch()
                if event is h11.NEED_DATA:
                    data = await self._loop.sock_recv(
                        self._client.sock, self._client.limits.chunk_bytes
                    )
                    self._framing.receive_data(data)
                elif isinstance(event, h11.Data):
                    await self._to_server(self._server.send(h11.Data(data=bytes(event.data))))
                elif isinstance(event, h11.EndOfMessage):
                    await self._to_server(self._server.send(h11.EndOfMessage()))
                    return
                else:
                    return
        except h11.RemoteProtocolError as error:
            self._bad_request = BadRequestError(str(error))
        except (OSError, h11.LocalProtocolError):
            return  # the answer tells: a server may refuse a body and end
        self._upstream.shutdown(socket.SHUT_RDWR)  # wakes the one who waits for the answer

    async def _answer(self, idle: IdleLimit) -> bool:
        """Pass the answer on; whether the connection now speaks another protocol."""
        while True:
            try:
                event = self._server.next_event()
                if event is h11.NEED_DATA:
                    data = await self._loop.sock_recv(
                        self._upstream, self._client.limits.chunk_bytes
                    )
                    idle.touch()
                    self._server.receive_data(data)
                    continue
            except (h11.RemoteProtocolError, OSError) as error:
                raise self._bad(f"the answer of the server cannot be read: {error}") from error
            match event:
                case h11.InformationalResponse():
                    if await self._informational(event):
                        return True
                case h11.Response():
                    fields = response_fields(event, self._head)
                    await self._to_guest(
                        h11.Response(
                            status_code=event.status_code, headers=fields, reason=event.reason
                        )
                    )
                case h11.Data():
                    await self._to_guest(h11.Data(data=bytes(event.data)))
                case h11.EndOfMessage():
                    await self._to_guest(h11.EndOfMessage())
                    return False
                case _:
                    raise self._bad("the server ended without an answer")

    async def _informational(self, event: h11.InformationalResponse) -> bool:
        if event.status_code != 101:
            if self._head.minor_version == 0:
                return False
            await self._to_guest(
                h11.InformationalResponse(status_code=event.status_code, headers=[])
            )
            return False
        fields = response_fields(event, self._head)
        await self._to_guest(
            h11.InformationalResponse(status_code=101, headers=fields, reason=event.reason)
        )
        return True

    async def _to_server(self, data: bytes | None) -> None:
        if data:
            self._meter.sent_bytes += len(data)
            await self._loop.sock_sendall(self._upstream, data)

    async def _to_guest(self, event: _Sendable) -> None:
        try:
            data = cast("bytes | None", self._framing.send(event))
        except h11.LocalProtocolError as error:
            raise self._bad(f"the answer of the server is malformed: {error}") from error
        self._started = True
        if data:
            self._meter.received_bytes += len(data)
            await self._client.send(data)

    def _bad(self, why: str) -> BadAnswerError:
        return BadAnswerError(why, started=self._started)
