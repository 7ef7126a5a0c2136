# SPDX-License-Identifier: Apache-2.0
"""Frames: `u8 type, u32 big-endian length, payload`, with a bound per type.

A table says which types may come in and how long each may be; everything else is refused before a
byte of its payload is kept. The guest's twin is `guest/wire.py`; docs/guest-protocol.md describes
both and golden frames test both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

GENERATION = 1

HEADER = struct.Struct(">BI")
CHUNK_BYTES = 64 * 1024
WINDOW_BYTES = 256 * 1024  # standard input that may be sent before the first CREDIT
MESSAGE_BYTES = 1 << 20
SMALL_BYTES = 64 * 1024


class FrameType(IntEnum):
    """Every frame of both channels."""

    # Control channel
    REQUEST = 0x01
    ANSWER = 0x02
    EVENT = 0x03
    # Session channel: opening
    HELLO = 0x10
    AUTH = 0x11
    WELCOME = 0x12
    OPEN = 0x13
    STARTED = 0x14
    FAILED = 0x15
    # Session channel: exec
    STDIN = 0x20
    STDIN_END = 0x21
    CREDIT = 0x22
    STDOUT = 0x23
    STDERR = 0x24
    STREAM_END = 0x25
    OUTPUT_CLOSED = 0x26
    RESIZE = 0x27
    SIGNAL = 0x28
    DETACH = 0x29
    EXIT = 0x2A
    # Session channel: trees and facts
    ENTER = 0x30
    LEAVE = 0x31
    FILE = 0x32
    DATA = 0x33
    FILE_END = 0x34
    LINK = 0x35
    SKIPPED = 0x36
    TREE_END = 0x37
    FACTS = 0x38


# What the host takes from the guest in each phase, and the longest payload of each.
CONTROL_IN: Mapping[FrameType, int] = {
    FrameType.ANSWER: MESSAGE_BYTES,
    FrameType.EVENT: SMALL_BYTES,
}
HELLO_IN: Mapping[FrameType, int] = {FrameType.HELLO: 1024, FrameType.WELCOME: 1024}
OPENED_IN: Mapping[FrameType, int] = {
    FrameType.STARTED: SMALL_BYTES,
    FrameType.FAILED: SMALL_BYTES,
    FrameType.FACTS: SMALL_BYTES,
}
EXEC_IN: Mapping[FrameType, int] = {
    FrameType.CREDIT: 4,
    FrameType.STDOUT: CHUNK_BYTES,
    FrameType.STDERR: CHUNK_BYTES,
    FrameType.STREAM_END: 1,
    FrameType.EXIT: 1024,
}
TREE_IN: Mapping[FrameType, int] = {
    FrameType.ENTER: SMALL_BYTES,
    FrameType.LEAVE: 0,
    FrameType.FILE: SMALL_BYTES,
    FrameType.DATA: CHUNK_BYTES,
    FrameType.FILE_END: 0,
    FrameType.LINK: SMALL_BYTES,
    FrameType.SKIPPED: SMALL_BYTES,
    FrameType.TREE_END: 0,
    FrameType.FAILED: SMALL_BYTES,
}
TREE_RESULT_IN: Mapping[FrameType, int] = {
    FrameType.TREE_END: 0,
    FrameType.FAILED: SMALL_BYTES,
}


class ProtocolError(ValueError):
    """The peer sent what the protocol does not allow."""


def encode_frame(kind: FrameType, payload: bytes = b"") -> bytes:
    """One frame, header and payload."""
    return HEADER.pack(kind, len(payload)) + payload


class FrameDecoder:
    """Cuts a byte stream into frames, keeping at most one unfinished frame within its bound."""

    def __init__(self, limits: Mapping[FrameType, int]) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._start = 0

    @property
    def pending(self) -> int:
        """Bytes that were fed and not taken."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Add received bytes; take all frames out before feeding again."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> tuple[FrameType, bytes] | None:
        """The next whole frame, or None.

        Raises:
            ProtocolError: a type that is not allowed now, or a payload over its bound.
        """
        if self.pending < HEADER.size:
            return None
        number, length = HEADER.unpack_from(self._buffer, self._start)
        kind = _KNOWN.get(number)
        limit = self.limits.get(kind) if kind is not None else None
        if kind is None or limit is None:
            raise ProtocolError(f"frame type {number:#04x} is not allowed here")
        if length > limit:
            raise ProtocolError(f"frame type {number:#04x} is too long: {length}")
        begin = self._start + HEADER.size
        if len(self._buffer) - begin < length:
            return None
        self._start = begin + length
        return kind, bytes(memoryview(self._buffer)[begin : begin + length])

    def __iter__(self) -> Iterator[tuple[FrameType, bytes]]:
        """Every whole frame there is now."""
        while (found := self.next()) is not None:
            yield found


_KNOWN = {kind.value: kind for kind in FrameType}
