# SPDX-License-Identifier: Apache-2.0
"""The QMP client against a peer on a socket pair."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest

from sbx.errors import OutcomeUnknownError, TransientError
from sbx.system.fds import socket_pair
from sbx.vm import qmp
from sbx.vm.qmp import EventKind, MachineEvent, Qmp, Refused, RunState, open_qmp

STAMP = {"seconds": 1, "microseconds": 0}
Reply = dict[str, object]
GREETING: Reply = {"QMP": {"version": {"qemu": {}, "package": ""}, "capabilities": []}}


class Peer:
    """QEMU's end: answers each command with the next of the given replies; None: no answer."""

    def __init__(self, sock: socket.socket, replies: list[Reply | None]) -> None:
        self._sock = sock
        self._replies = replies

    async def send(self, *messages: Reply) -> None:
        data = b"".join(json.dumps(message).encode() + b"\r\n" for message in messages)
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        await self.send(GREETING)
        await loop.sock_recv(self._sock, 65536)
        await self.send({"return": {}})
        for reply in self._replies:
            sent = json.loads(await loop.sock_recv(self._sock, 65536))
            if reply is None:
                return
            await self.send({**reply, "id": sent["id"]})


def talk(
    replies: list[Reply | None], body: Callable[[Qmp, Peer], Awaitable[None]]
) -> list[MachineEvent]:
    """Connect to a peer with these replies; returns the events that were handed over."""
    events: list[MachineEvent] = []

    async def main() -> None:
        near, far = socket_pair()
        near.settimeout(0)
        far.settimeout(0)
        with far:
            peer = Peer(far, replies)
            async with asyncio.TaskGroup() as group:
                group.create_task(peer.serve())
                async with open_qmp(near, events.append, timeout_s=4) as client:
                    await body(client, peer)

    asyncio.run(main())
    return events


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("running", RunState.RUNNING),
        ("io-error", RunState.IO_ERROR),
        ("prelaunch", RunState.OTHER),
        (7, RunState.OTHER),
    ],
)
def test_states(status: object, state: RunState) -> None:
    async def body(client: Qmp, _: Peer) -> None:
        assert await client.query_status() is state

    talk([{"return": {"status": status}}], body)


def test_a_refusal_says_what_and_why() -> None:
    async def body(client: Qmp, _: Peer) -> None:
        with pytest.raises(Refused, match="QEMU refused `cont`: not now"):
            await client.resume()

    talk([{"error": {"class": "GenericError", "desc": "not now"}}], body)


def test_no_answer_means_that_the_outcome_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "COMMAND_TIMEOUT_S", 0.1)

    async def body(client: Qmp, _: Peer) -> None:
        with pytest.raises(OutcomeUnknownError, match="did not answer `quit`"):
            await client.quit()

    talk([None], body)


def test_events_are_handed_over_and_others_forgotten() -> None:
    async def body(client: Qmp, peer: Peer) -> None:
        for _ in range(100):
            await peer.send({"event": "RTC_CHANGE", "data": {"offset": 1}, "timestamp": STAMP})
        await peer.send(
            {"event": "BLOCK_IO_ERROR", "data": {"nospace": True}, "timestamp": STAMP},
            {"event": "SHUTDOWN", "data": {"reason": "guest-reset"}, "timestamp": STAMP},
            {"event": "SHUTDOWN", "data": {"reason": ["no word"]}, "timestamp": STAMP},
            {"event": "STOP", "timestamp": STAMP},
        )
        await client.query_status()  # its answer comes after them
        library = client._client  # pyright: ignore[reportPrivateUsage]
        assert library.events.empty()

    events = talk([{"return": {}}], body)
    assert events == [
        MachineEvent(kind=EventKind.DISK_ERROR, no_space=True),
        MachineEvent(kind=EventKind.SHUTDOWN, reason="guest-reset"),
        MachineEvent(kind=EventKind.SHUTDOWN),
        MachineEvent(kind=EventKind.STOPPED),
    ]


def test_a_peer_that_hangs_up() -> None:
    async def main() -> None:
        near, far = socket_pair()
        near.settimeout(0)
        far.close()
        with pytest.raises(TransientError, match="ended before it was ready"):
            async with open_qmp(near, lambda _: None, timeout_s=4):
                pytest.fail("there is nobody")
        assert near.fileno() == -1

    asyncio.run(main())
