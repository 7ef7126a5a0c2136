# SPDX-License-Identifier: Apache-2.0
"""The pump against a scripted guest: windows, ends, and what a hostile guest gets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.agent.pump import EndKind, ExecEnd, Pump, Resize, Signal, Streams
from sbx.errors import PermanentError
from sbx.protocol.fields import encode_message
from sbx.protocol.frames import HEADER, WINDOW_BYTES, FrameType, encode_frame

EXIT = encode_message(FrameType.EXIT, {"status": 3})


@dataclass(slots=True)
class Wire:
    """Both ends of a session and a pipe that takes the output."""

    ours: socket.socket
    theirs: socket.socket
    read: int
    write: int

    def pump(self, **options: object) -> Pump:
        streams = Streams(stdin=None, stdout=self.write, stderr=self.write)
        return Pump(self.ours, streams, **options)  # type: ignore[arg-type]


@pytest.fixture
def wire() -> Iterator[Wire]:
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    yield Wire(ours, theirs, read, write)
    for sock in (ours, theirs):
        sock.close()
    for fd in (read, write):
        os.close(fd)


def test_output_and_exit(wire: Wire) -> None:
    wire.theirs.sendall(
        encode_frame(FrameType.STDOUT, b"out ") + encode_frame(FrameType.STDERR, b"err") + EXIT
    )
    assert wire.pump().run() == ExecEnd(kind=EndKind.EXITED, status=3)
    assert os.read(wire.read, 100) == b"out err"


def test_a_signal_counts_128_more(wire: Wire) -> None:
    wire.theirs.sendall(encode_message(FrameType.EXIT, {"signal": 15}))
    assert wire.pump().run().exit_status == 143


def test_a_broken_connection_is_lost(wire: Wire) -> None:
    wire.theirs.sendall(encode_frame(FrameType.STDOUT, b"x"))
    wire.theirs.shutdown(socket.SHUT_WR)
    end = wire.pump().run()
    assert (end.kind, end.exit_status) == (EndKind.LOST, 1)
    assert os.read(wire.read, 9) == b"x"


def test_a_connection_that_nobody_carries_any_more_is_lost(wire: Wire) -> None:
    watched, keeper = socket.socketpair()
    with watched, keeper:
        wire.theirs.sendall(encode_frame(FrameType.STDOUT, b"last words"))
        keeper.close()  # and no end of the connection itself
        end = wire.pump(watch=watched.fileno()).run()
    assert end == ExecEnd(kind=EndKind.LOST)
    assert os.read(wire.read, 100) == b"last words"


def test_an_exit_that_came_before_the_machine_went_counts(wire: Wire) -> None:
    watched, keeper = socket.socketpair()
    with watched, keeper:
        wire.theirs.sendall(EXIT)
        keeper.close()
        end = wire.pump(watch=watched.fileno()).run()
    assert end == ExecEnd(kind=EndKind.EXITED, status=3)


def test_stdin_keeps_to_the_window(wire: Wire) -> None:
    zero = os.open("/dev/zero", os.O_RDONLY)
    wire.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    wire.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    pump = Pump(wire.ours, Streams(stdin=zero, stdout=wire.write, stderr=wire.write))
    wire.theirs.sendall(encode_frame(FrameType.CREDIT, struct.pack(">I", 1000)))
    import threading

    thread = threading.Thread(target=pump.run)
    thread.start()
    sizes = 0
    while sizes < WINDOW_BYTES + 1000:
        kind, length = HEADER.unpack(wire.theirs.recv(5, socket.MSG_WAITALL))
        assert kind == FrameType.STDIN
        sizes += len(wire.theirs.recv(length, socket.MSG_WAITALL))
    wire.theirs.sendall(EXIT)
    thread.join()
    assert sizes == WINDOW_BYTES + 1000
    wire.theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        wire.theirs.recv(1)
    os.close(zero)


def test_the_end_of_stdin_is_told_once(wire: Wire) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    pump = Pump(wire.ours, Streams(stdin=null, stdout=wire.write, stderr=wire.write))
    import threading

    thread = threading.Thread(target=pump.run)
    thread.start()
    assert wire.theirs.recv(5, socket.MSG_WAITALL) == encode_frame(FrameType.STDIN_END)
    wire.theirs.sendall(EXIT)
    thread.join()
    os.close(null)


def test_detach_keys_leave(wire: Wire) -> None:
    read, write = os.pipe()
    os.write(write, b"ab\x10\x11cd")
    streams = Streams(stdin=read, stdout=wire.write, stderr=wire.write)
    end = Pump(wire.ours, streams, detach_keys=b"\x10\x11").run()
    assert (end.kind, end.exit_status) == (EndKind.DETACHED, 0)
    expected = encode_frame(FrameType.STDIN, b"ab") + encode_frame(FrameType.DETACH)
    assert wire.theirs.recv(100) == expected
    os.close(read)
    os.close(write)


class OneControl:
    """Controls with some items that are there from the start."""

    def __init__(self, *items: Resize | Signal) -> None:
        self._read, self._write = os.pipe()
        self._items = items
        os.write(self._write, b"x")

    def fileno(self) -> int:
        return self._read

    def take(self) -> Sequence[Resize | Signal]:
        os.read(self._read, 1)
        return self._items

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


def test_sizes_and_signals_are_passed_on(wire: Wire) -> None:
    controls = OneControl(Resize(rows=5, cols=70000), Signal(number=2))
    import threading

    thread = threading.Thread(target=wire.pump(controls=controls).run)
    thread.start()
    expected = encode_frame(FrameType.RESIZE, b"\0\5\xff\xff") + encode_frame(
        FrameType.SIGNAL, b"\2"
    )
    assert wire.theirs.recv(len(expected), socket.MSG_WAITALL) == expected
    wire.theirs.sendall(EXIT)
    thread.join()
    controls.close()


class Impatience(OneControl):
    """Somebody who sends the signal again and again."""

    def take(self) -> Sequence[Resize | Signal]:
        return [Signal(number=2)]


def test_a_signal_gives_up_on_a_reader_that_does_not_read(wire: Wire) -> None:
    controls = Impatience()
    frames = [encode_frame(FrameType.STDOUT, b"x" * 60000)] * 3
    wire.theirs.sendall(b"".join(frames) + EXIT)
    assert wire.pump(controls=controls).run().status == 3
    controls.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 20,
        HEADER.pack(FrameType.STDOUT, 1 << 20),
        HEADER.pack(FrameType.OPEN, 0),
        encode_frame(FrameType.EXIT, b"{}"),
        encode_frame(FrameType.EXIT, b"[" * 1000),
        encode_frame(FrameType.CREDIT, b"\1"),
        encode_frame(FrameType.STREAM_END, b"\7"),
    ],
)
def test_a_guest_that_breaks_the_protocol(wire: Wire, data: bytes) -> None:
    wire.theirs.sendall(data)
    with pytest.raises(PermanentError, match="guest agent broke the protocol"):
        wire.pump().run()


def test_credit_without_end_does_not_overflow(wire: Wire) -> None:
    credit = encode_frame(FrameType.CREDIT, b"\xff\xff\xff\xff")
    wire.theirs.sendall(credit * 100 + EXIT)
    assert wire.pump().run().status == 3


@given(st.binary(max_size=200))
def test_garbage_ends_in_one_of_two_ways(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    null = os.open("/dev/null", os.O_WRONLY)
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    try:
        end = Pump(ours, Streams(stdin=None, stdout=null, stderr=null)).run()
        assert end.kind in (EndKind.LOST, EndKind.EXITED, EndKind.SIGNALED)
    except PermanentError as error:
        assert error.message == "guest agent broke the protocol"  # noqa: PT017 - either may happen
    finally:
        os.close(null)
        ours.close()
        theirs.close()
