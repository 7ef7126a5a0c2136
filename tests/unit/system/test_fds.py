# SPDX-License-Identifier: Apache-2.0
"""Descriptors that travel: nothing is lost, nothing leaks, nothing more than asked for is taken."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.system.fds import (
    MAX_FDS,
    close_all,
    recv_fds,
    recv_fds_async,
    send_fds,
    send_fds_async,
    socket_pair,
)


def open_fds() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_descriptor_arrives_close_on_exec() -> None:
    ours, theirs = socket_pair()
    reader, writer = os.pipe()
    with ours, theirs:
        send_fds(ours, b"take", [writer])
        data, fds = recv_fds(theirs, max_bytes=16)
        assert data == b"take"
        assert not os.get_inheritable(fds[0])
        os.write(fds[0], b"hello")
        assert os.read(reader, 16) == b"hello"
    close_all([reader, writer, *fds])


def test_the_end_of_the_stream_is_empty() -> None:
    ours, theirs = socket_pair()
    ours.close()
    with theirs:
        assert recv_fds(theirs, max_bytes=16) == (b"", [])


def test_more_descriptors_than_expected_are_refused_and_closed() -> None:
    ours, theirs = socket_pair()
    with ours, theirs:
        before = open_fds()
        send_fds(ours, b"x", [0] * 9)
        with pytest.raises(PermanentError, match="cut off"):
            recv_fds(theirs, max_bytes=16, max_fds=2)
        assert open_fds() == before


def test_a_message_that_is_too_long_is_refused() -> None:
    ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
    with ours, theirs:
        before = open_fds()
        send_fds(ours, b"x" * 100, [0])
        with pytest.raises(PermanentError, match="cut off"):
            recv_fds(theirs, max_bytes=16)
        assert open_fds() == before


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"x", MAX_FDS + 1)])
def test_what_cannot_travel_is_refused_before_it_is_sent(data: bytes, count: int) -> None:
    ours, theirs = socket_pair()
    with ours, theirs, pytest.raises(ValueError, match="descriptors travel"):
        send_fds(ours, data, [0] * count)


def test_on_the_event_loop_both_sides_wait_for_each_other() -> None:
    async def exchange() -> None:
        ours, theirs = socket_pair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            payload = b"y" * (4 << 20)  # more than the socket holds: the sender must wait too

            async def receive() -> tuple[bytes, list[int]]:
                data, fds = await recv_fds_async(theirs, max_bytes=1 << 16)
                while len(data) < len(payload):
                    more, none = await recv_fds_async(theirs, max_bytes=1 << 16)
                    assert more
                    assert none == []
                    data += more
                return data, fds

            async with asyncio.TaskGroup() as group:
                reading = group.create_task(receive(), name="receive")
                group.create_task(send_fds_async(ours, payload, [0]), name="send")
            data, fds = reading.result()
            assert data == payload
            assert len(fds) == 1
            close_all(fds)

    asyncio.run(exchange())
