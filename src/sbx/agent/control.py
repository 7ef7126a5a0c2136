# SPDX-License-Identifier: Apache-2.0
"""The supervisor's end of the control channel: ask the guest agent, hear its events.

A guest that breaks the protocol ends the channel: nothing it says after that is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from sbx.agent.broken import broken
from sbx.errors import PermanentError, SbxError, TransientError
from sbx.protocol.control import (
    AgentEvent,
    AgentReady,
    Answer,
    AskStats,
    Assembly,
    DiskEvent,
    DiskState,
    GrowDisk,
    Hello,
    Identity,
    LinkSetup,
    LogEvent,
    MountSetup,
    Refusal,
    Request,
    SandboxEndedEvent,
    SessionsEvent,
    SetTime,
    Shutdown,
    Stats,
    Trim,
    encode_request,
    parse_answer,
    parse_event,
    parse_ready,
    parse_stats,
)
from sbx.protocol.fields import Fields
from sbx.protocol.frames import CONTROL_IN, GENERATION, FrameDecoder, FrameType, ProtocolError

__all__ = [
    "AgentControl",
    "AgentEvent",
    "AgentReady",
    "Assembly",
    "DiskEvent",
    "DiskState",
    "Identity",
    "LinkSetup",
    "LogEvent",
    "MountSetup",
    "SandboxEndedEvent",
    "SessionsEvent",
    "Stats",
]

T = TypeVar("T")

log = logging.getLogger(__name__)


class AgentControl(asyncio.Protocol):
    """One guest agent.

    Every request raises PermanentError when the agent refuses it or breaks the protocol, and
    TransientError when it is gone. Deadlines are the caller's (`asyncio.timeout`).
    """

    def __init__(self) -> None:
        self.on_event: Callable[[AgentEvent], None] | None = None
        self._decoder = FrameDecoder(CONTROL_IN)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Fields]] = {}
        self._count = 0
        self._end: SbxError | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def over(cls, sock: socket.socket) -> AsyncGenerator[AgentControl]:
        """Serve the channel on a connected socket, which belongs to it from now on."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)  # noqa: FBT003 - no keywords there
        transport, control = await loop.create_connection(cls, sock=sock)
        try:
            yield control
        finally:
            transport.abort()

    async def ready(self) -> AgentReady:
        """Wait until the agent is up, and learn who it is.

        Raises:
            PermanentError: it is of another generation.
        """
        found = self._checked(parse_ready, await self._ask(Hello()))
        if found.generation != GENERATION:
            raise PermanentError(
                f"guest agent speaks generation {found.generation}, expected {GENERATION}",
                hint="Run: sbx setup",
            )
        return found

    async def trim(self) -> None:
        """Let the machine give up what it can read again, before it is frozen."""
        await self._ask(Trim())

    async def configure(self, identity: Identity) -> None:
        """Make the machine this sandbox's."""
        await self._ask(identity)

    async def assemble(self, assembly: Assembly) -> None:
        """Put the sandbox together and start it."""
        await self._ask(assembly)

    async def set_time(self, time_ns: int) -> None:
        """Set the guest's clock."""
        await self._ask(SetTime(time_ns=time_ns))

    async def grow_disk(self, size_bytes: int) -> None:
        """Let the data disk's file system fill a disk of this size."""
        await self._ask(GrowDisk(size_bytes=size_bytes))

    async def stats(self) -> Stats:
        """What the machine uses."""
        return self._checked(parse_stats, await self._ask(AskStats()))

    async def shutdown(self, *, grace_s: float) -> None:
        """End everything in order; after the answer the machine switches itself off."""
        await self._ask(Shutdown(grace_s=round(grace_s)))

    async def _ask(self, request: Request) -> Fields:
        if self._end is not None:
            raise self._end
        assert self._transport is not None
        self._count += 1
        future: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        number, self._waiting[self._count] = self._count, future
        self._transport.write(encode_request(number, request))
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    def _checked(self, parse: Callable[[Fields], T], result: Fields) -> T:
        try:
            return parse(result)
        except ProtocolError as error:
            self._finish(broken(error))
            raise broken(error) from error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            for kind, payload in self._decoder:
                self._take(kind, payload)
        except ProtocolError as error:
            self._finish(broken(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(TransientError("guest agent is gone", details=str(exc) if exc else None))

    def _take(self, kind: FrameType, payload: bytes) -> None:
        if kind is FrameType.ANSWER:
            self._take_answer(parse_answer(payload))
            return
        event = parse_event(payload)
        if event is not None and self.on_event is not None:
            self.on_event(event)

    def _take_answer(self, answer: Answer) -> None:
        future = self._waiting.pop(answer.number, None)
        if future is None or future.done():
            if answer.number > self._count:
                raise ProtocolError("an answer to nothing")
            return  # the asker gave up meanwhile
        if isinstance(answer.result, Refusal):
            text = f"guest agent: {answer.result.message}"
            future.set_exception(PermanentError(text, details=f"code: {answer.result.code}"))
        else:
            future.set_result(answer.result)

    def _finish(self, error: SbxError) -> None:
        if self._end is not None:
            return
        self._end = error
        log.info("control channel ended: %s (%s)", error.message, error.details)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        if self._transport is not None:
            self._transport.abort()
