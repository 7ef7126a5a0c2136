# SPDX-License-Identifier: Apache-2.0
"""The spare session: made ahead, handed out once, never a dead one, given up in the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine

import pytest

from sbx.errors import TransientError
from sbx.supervisor import spare
from sbx.supervisor.spare import SpareSession


class Guest:
    """Hands out connected sockets and keeps the other ends."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.fails = False

    async def open(self) -> socket.socket:
        if self.fails:
            raise TransientError("no answer")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.ends.append(theirs)
        return ours

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture(name="guest")
def _guest() -> Guest:
    return Guest()


def run(guest: Guest, test: Coroutine[None, None, None]) -> None:
    try:
        asyncio.run(test)
    finally:
        guest.close()


def is_closed(end: socket.socket) -> bool:
    """Whether the supervisor's side has gone."""
    end.settimeout(0)
    try:
        return end.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_prepared_one_is_handed_out_once(guest: Guest) -> None:
    async def test() -> None:
        sessions = SpareSession(guest.open)
        sessions.prepare()
        sessions.prepare()  # one is enough
        first = await sessions.take()
        assert len(guest.ends) == 1
        second = await sessions.take()
        assert len(guest.ends) == 2
        first.sendall(b"1")
        second.sendall(b"2")
        assert [end.recv(1) for end in guest.ends] == [b"1", b"2"]
        first.close()
        second.close()
        await sessions.close()

    run(guest, test())


def test_one_that_the_guest_left_is_replaced(guest: Guest) -> None:
    async def test() -> None:
        sessions = SpareSession(guest.open)
        sessions.prepare()
        await asyncio.sleep(0)
        guest.ends[0].close()
        sock = await sessions.take()
        sock.sendall(b"x")
        assert guest.ends[1].recv(1) == b"x"
        sock.close()
        await sessions.close()

    run(guest, test())


def test_one_on_which_the_guest_spoke_is_replaced(guest: Guest) -> None:
    async def test() -> None:
        sessions = SpareSession(guest.open)
        sessions.prepare()
        await asyncio.sleep(0)
        guest.ends[0].sendall(b"unasked")
        (await sessions.take()).close()
        assert len(guest.ends) == 2
        await sessions.close()

    run(guest, test())


def test_a_failure_is_told_to_who_asks(guest: Guest) -> None:
    async def test() -> None:
        sessions = SpareSession(guest.open)
        guest.fails = True
        sessions.prepare()
        with pytest.raises(TransientError):
            await sessions.take()
        guest.fails = False
        (await sessions.take()).close()
        await sessions.close()

    run(guest, test())


def test_it_is_given_up_after_a_while(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "KEPT_S", 0.0)

    async def test() -> None:
        sessions = SpareSession(guest.open)
        sessions.prepare()
        await asyncio.sleep(0)
        end = guest.ends[0]
        end.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(end, 1) == b""
        await sessions.close()

    run(guest, test())


def test_closing_leaves_nothing(guest: Guest) -> None:
    async def test() -> None:
        sessions = SpareSession(guest.open)
        sessions.prepare()
        await asyncio.sleep(0)
        await sessions.close()
        assert is_closed(guest.ends[0])
        sessions.prepare()
        await sessions.close()  # also while it is being made

    run(guest, test())
