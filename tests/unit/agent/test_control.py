# SPDX-License-Identifier: Apache-2.0
"""The control channel: the supervisor's end against the real agent's channel, and a hostile one."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine

import pytest

from sbx.agent.control import AgentControl, AgentEvent, LogEvent, SessionsEvent
from sbx.errors import PermanentError, TransientError
from sbx.guest.control import ControlChannel, Handler, RequestError
from sbx.guest.loop import READ, Loop
from sbx.guest.wire import Fields, Json
from sbx.protocol.control import Hello, encode_request
from sbx.protocol.frames import HEADER, FrameType, encode_frame


class FakeAgent:
    """The guest's own loop and channel in a thread, with handlers of the test."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self.host, guest = socket.socketpair()
        self._stop_read, self._stop_write = os.pipe()
        self.loop = Loop(lambda text: None)
        self.channel = ControlChannel(self.loop, guest.detach(), handlers)
        self.loop.watch(self._stop_read, READ, lambda _events: self.loop.stop())
        self._thread = threading.Thread(target=self.loop.run)

    def __enter__(self) -> FakeAgent:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        self.channel.close()
        self.loop.close()
        os.close(self._stop_read)
        os.close(self._stop_write)
        self.host.close()


async def hello(fields: Fields) -> Json:
    assert fields.integer("generation", 1, 9) == 1
    return {"generation": 1, "kernel": "k", "configured": True}


async def old(_fields: Fields) -> Json:
    return {"generation": 7, "kernel": "k", "configured": True}


async def broken(_fields: Fields) -> Json:
    raise ValueError("oops")


async def refuse(_fields: Fields) -> Json:
    raise RequestError("disk", "disk did not appear: `data`")


def ask(
    handlers: dict[str, Handler], work: Callable[[AgentControl], Coroutine[None, None, None]]
) -> None:
    async def run() -> None:
        async with AgentControl.over(agent.host.dup()) as control:
            await work(control)

    with FakeAgent(handlers) as agent:
        asyncio.run(run())


def test_ready() -> None:
    async def work(control: AgentControl) -> None:
        ready = await control.ready()
        assert (ready.kernel, ready.configured) == ("k", True)

    ask({"hello": hello}, work)


def test_another_generation() -> None:
    async def work(control: AgentControl) -> None:
        with pytest.raises(PermanentError, match="generation 7"):
            await control.ready()

    ask({"hello": old}, work)


@pytest.mark.parametrize(
    ("handlers", "text"),
    [
        ({"hello": refuse}, "disk did not appear: `data`"),
        ({"hello": broken}, "ValueError: oops"),
        ({}, "unknown request: hello"),
    ],
)
def test_refusals_are_sentences(handlers: dict[str, Handler], text: str) -> None:
    async def work(control: AgentControl) -> None:
        with pytest.raises(PermanentError, match=text):
            await control.ready()
        with pytest.raises(PermanentError, match="unknown request"):  # the channel still works
            await control.set_time(5)

    ask(handlers, work)


def test_requests_overlap() -> None:
    async def stats(_fields: Fields) -> Json:
        counts = {"attached": 0, "detached": 0, "load_1min": 0}
        return {**counts, "memory_bytes": 9, "memory_available_bytes": 4}

    async def work(control: AgentControl) -> None:
        found = await asyncio.gather(control.ready(), *(control.stats() for _ in range(50)))
        assert len(found) == 51

    ask({"hello": hello, "stats": stats}, work)


def answer_with(data: bytes) -> tuple[list[AgentEvent], Exception | None]:
    """What a supervisor that asked for `hello` makes of these bytes and then the end."""
    events: list[AgentEvent] = []

    async def run() -> Exception | None:
        ours, theirs = socket.socketpair()
        with theirs:
            async with AgentControl.over(ours) as control:
                control.on_event = events.append
                theirs.sendall(data)
                theirs.shutdown(socket.SHUT_WR)
                try:
                    await control.ready()
                except Exception as error:  # noqa: BLE001 - the test looks at whatever it is
                    return error
        return None

    return events, asyncio.run(run())


def test_events() -> None:
    data = encode_frame(FrameType.EVENT, b'{"event":"log","text":"x"}')
    data += encode_frame(FrameType.EVENT, b'{"event":"of later days"}')
    data += encode_frame(FrameType.EVENT, b'{"event":"sessions","attached":1,"detached":0}')
    events, error = answer_with(data)
    assert events == [LogEvent(text="x"), SessionsEvent(attached=1, detached=0)]
    assert isinstance(error, TransientError)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 20,
        HEADER.pack(FrameType.ANSWER, 1 << 31),
        encode_frame(FrameType.ANSWER, b"{}"),
        encode_frame(FrameType.ANSWER, b'{"id":9,"ok":true,"result":{}}'),
        encode_frame(FrameType.ANSWER, b'{"id":1,"ok":true,"result":{}}'),
        encode_frame(FrameType.ANSWER, b'{"id":1,"ok":true,"result":[]}'),
        encode_frame(FrameType.EVENT, b'{"event":5}'),
        encode_frame(FrameType.EVENT, b'{"event":"sessions","attached":-1,"detached":0}'),
        encode_frame(FrameType.REQUEST, b"{}"),
    ],
)
def test_a_guest_that_breaks_the_protocol(data: bytes) -> None:
    _events, error = answer_with(data)
    assert isinstance(error, PermanentError)
    assert error.message == "guest agent broke the protocol"


def test_a_guest_that_leaves() -> None:
    assert isinstance(answer_with(b"")[1], TransientError)


def test_the_agent_survives_garbage() -> None:
    """The agent's side: what a broken host leaves does not disturb the next request."""
    for garbage in (b"\xff" * 50, HEADER.pack(FrameType.REQUEST, 1 << 30)):
        with FakeAgent({"hello": hello}) as agent:
            agent.host.sendall(garbage)
            assert b"control channel" in receive_answer(agent.host)
            agent.host.sendall(encode_request(1, Hello()))
            assert b'"ok":true' in receive_answer(agent.host)


def receive_answer(sock: socket.socket) -> bytes:
    header = sock.recv(HEADER.size, socket.MSG_WAITALL)
    return sock.recv(HEADER.unpack(header)[1], socket.MSG_WAITALL)
