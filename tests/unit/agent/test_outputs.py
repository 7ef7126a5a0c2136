# SPDX-License-Identifier: Apache-2.0
"""Outputs never block and never touch the caller's descriptor."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

from sbx.agent.outputs import Output


def test_a_pipe_is_filled_without_blocking_and_drained_later() -> None:
    read, write = os.pipe()
    output = Output(write)
    output.write(b"x" * 1_000_000)
    assert 0 < output.queued < 1_000_000
    assert os.get_blocking(write)  # shared with other programs
    total = 0
    while output.queued:
        total += len(os.read(read, 1 << 16))
        output.flush()
    output.close()
    os.close(write)
    while data := os.read(read, 1 << 16):
        total += len(data)
    assert total == 1_000_000
    os.close(read)


def test_a_pipe_without_a_reader_closes_the_output() -> None:
    read, write = os.pipe()
    output = Output(write)
    os.close(read)
    output.write(b"x")
    assert output.is_closed
    output.write(b"y")
    assert output.queued == 0
    os.close(write)


def test_a_file_is_written_at_once_and_appended(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before ")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    output = Output(fd)
    output.write(b"x" * 100_000)
    assert output.queued == 0
    output.close()
    os.write(fd, b" after")
    os.close(fd)
    assert path.read_bytes() == b"before " + b"x" * 100_000 + b" after"


def test_a_socket_gets_only_what_poll_promises() -> None:
    ours, theirs = socket.socketpair()
    output = Output(ours.fileno())
    output.write(b"x" * 3_000_000)
    poll = select.poll()
    poll.register(output.fd, select.POLLOUT)
    while poll.poll(0):
        output.flush()  # must not block, though the socket is a blocking one
    assert output.queued
    output.close()
    ours.close()
    theirs.close()


def test_the_end_comes_after_what_is_queued() -> None:
    read, write = os.pipe()
    output = Output(write)
    output.write(b"x" * 200_000)
    output.end()
    assert not output.is_closed
    total = 0
    while data := os.read(read, 1 << 16):
        total += len(data)
        output.flush()
    assert total == 200_000
    os.write(write, b"into nothing")  # the descriptor is still there, and leads nowhere
    os.close(write)
    os.close(read)
