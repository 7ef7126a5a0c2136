# SPDX-License-Identifier: Apache-2.0
"""Several addresses, one connection."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import pytest

from sbx.policy.hosts import Address
from sbx.proxy.race import AllFailedError, interleaved, race

FIRST, SECOND = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def test_families_take_turns() -> None:
    given = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::3"]
    found = interleaved([ip_address(each) for each in given])
    assert [str(each) for each in found] == [given[0], given[2], given[1], given[3]]


def test_the_second_wins_when_the_first_does_not_answer_and_nothing_is_left_open() -> None:
    made: list[socket.socket] = []

    async def attempt(address: Address) -> socket.socket:
        if address == FIRST:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(address)
        made.append(socket.socket())
        return made[-1]

    cancelled: list[Address] = []
    found, sock = asyncio.run(race([FIRST, SECOND], attempt, delay_s=0.01, expected=(OSError,)))
    assert (found, cancelled, made) == (SECOND, [FIRST], [sock])
    sock.close()


def test_a_connection_that_comes_about_too_late_is_closed() -> None:
    late = socket.socket()

    async def attempt(address: Address) -> socket.socket:
        if address == SECOND:
            return socket.socket()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return late
        raise AssertionError

    _, sock = asyncio.run(race([FIRST, SECOND], attempt, delay_s=0.01, expected=(OSError,)))
    sock.close()
    assert late.fileno() == -1


def test_all_errors_are_told_and_others_are_not_swallowed() -> None:
    async def attempt(address: Address) -> socket.socket:
        raise OSError(str(address))

    with pytest.raises(AllFailedError) as raised:
        asyncio.run(race([FIRST, SECOND], attempt, delay_s=0.01, expected=(OSError,)))
    assert [str(each) for each in raised.value.errors] == [str(FIRST), str(SECOND)]
    with pytest.raises(OSError, match=str(FIRST)):
        asyncio.run(race([FIRST], attempt, delay_s=0.01, expected=(ValueError,)))
