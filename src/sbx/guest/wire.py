# SPDX-License-Identifier: Apache-2.0
"""Frames and messages as the guest sees them: the twin of `sbx.protocol`, by the same goldens.

Every frame is `u8 type, u32 big-endian length, payload`. A table says which types may come in and
how long each may be; everything else is refused before a byte of its payload is kept. See
docs/guest-protocol.md. No dataclasses here: their import costs a tenth of the agent's start.
"""

from __future__ import annotations

import json
import struct

GENERATION = 1

HEADER = struct.Struct(">BI")
CHUNK_BYTES = 64 * 1024
WINDOW_BYTES = 256 * 1024  # standard input that a client may send before the first CREDIT
MESSAGE_BYTES = 1 << 20
SMALL_BYTES = 64 * 1024

# Control channel
REQUEST, ANSWER, EVENT = 0x01, 0x02, 0x03
# Session channel: opening
HELLO, AUTH, WELCOME, OPEN, STARTED, FAILED = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
# Session channel: exec
STDIN, STDIN_END, CREDIT, STDOUT, STDERR = 0x20, 0x21, 0x22, 0x23, 0x24
STREAM_END, OUTPUT_CLOSED, RESIZE, SIGNAL, DETACH, EXIT = 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A
# Session channel: trees and facts
ENTER, LEAVE, FILE, DATA, FILE_END, LINK, SKIPPED, TREE_END, FACTS = (
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
)  # fmt: skip

CONTROL_IN = {REQUEST: MESSAGE_BYTES}
AUTH_IN = {AUTH: 1024}
OPEN_IN = {OPEN: MESSAGE_BYTES}
EXEC_IN = {
    STDIN: CHUNK_BYTES,
    STDIN_END: 0,
    OUTPUT_CLOSED: 1,
    RESIZE: 4,
    SIGNAL: 1,
    DETACH: 0,
}
TREE_IN = {
    ENTER: SMALL_BYTES,
    LEAVE: 0,
    FILE: SMALL_BYTES,
    DATA: CHUNK_BYTES,
    FILE_END: SMALL_BYTES,
    LINK: SMALL_BYTES,
    TREE_END: 0,
}

Json = dict[str, object]


class WireError(Exception):
    """The peer sent what the protocol does not allow."""


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One frame, header and payload."""
    return HEADER.pack(kind, len(payload)) + payload


def message(kind: int, body: Json) -> bytes:
    """One frame with a JSON payload in its canonical form (sorted keys, no spaces, ASCII)."""
    return frame(kind, json.dumps(body, separators=(",", ":"), sort_keys=True).encode("ascii"))


class Decoder:
    """Cuts a stream into frames; `limits` maps each type allowed now to its longest payload."""

    def __init__(self, limits: dict[int, int]) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._start = 0

    @property
    def pending(self) -> int:
        """Bytes that were fed and not taken."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Add received bytes; the caller takes all frames out before it reads again."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> tuple[int, bytes] | None:
        """The next whole frame, or None.

        Raises:
            WireError: a type that is not allowed now, or a payload over its bound.
        """
        if len(self._buffer) - self._start < HEADER.size:
            return None
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        limit = self.limits.get(kind)
        if limit is None:
            raise WireError(f"frame type {kind:#04x} is not allowed here")
        if length > limit:
            raise WireError(f"frame type {kind:#04x} is too long: {length}")
        begin = self._start + HEADER.size
        if len(self._buffer) - begin < length:
            return None
        self._start = begin + length
        return kind, bytes(memoryview(self._buffer)[begin : begin + length])


def parse(payload: bytes) -> Fields:
    """The JSON object of a message.

    Raises:
        WireError: not JSON, not an object, a key twice, or nested too deeply.
    """
    try:
        value: object = json.loads(payload, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not a message: {error}") from None
    return Fields(value)


def _unique(pairs: list[tuple[str, object]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


class Fields:
    """Typed, bounded look-ups in a JSON object. Keys that nobody asks for are ignored."""

    def __init__(self, value: object) -> None:
        if type(value) is not dict:
            raise WireError("not an object")
        self._values: Json = value  # pyright: ignore[reportUnknownMemberType]

    def text(self, name: str, limit: int = 4096) -> str:
        """A string of at most `limit` characters without NUL."""
        value = self._values.get(name)
        if type(value) is not str or len(value) > limit or "\0" in value:
            raise WireError(f"`{name}`: expected a text of at most {limit}")
        return value

    def text_or_none(self, name: str, limit: int = 4096) -> str | None:
        """As `text`; None if it is null or missing."""
        return None if self._values.get(name) is None else self.text(name, limit)

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer from `low` to `high`, both allowed."""
        value = self._values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise WireError(f"`{name}`: expected an integer from {low} to {high}")
        return value

    def integer_or_zero(self, name: str, high: int) -> int:
        """As `integer` from 0; missing is 0."""
        return self.integer(name, 0, high) if name in self._values else 0

    def flag(self, name: str) -> bool:
        """True or false; missing is false."""
        value = self._values.get(name, False)
        if type(value) is not bool:
            raise WireError(f"`{name}`: expected true or false")
        return value

    def data(self, name: str, limit: int) -> bytes:
        """Base64 of at most `limit` bytes."""
        import binascii

        try:
            value = binascii.a2b_base64(self.text(name, limit * 2 + 8), strict_mode=True)
        except (ValueError, UnicodeError) as error:
            raise WireError(f"`{name}`: not base64: {error}") from None
        if len(value) > limit:
            raise WireError(f"`{name}`: longer than {limit} bytes")
        return value

    def fields(self, name: str) -> Fields:
        """An object."""
        return Fields(self._values.get(name))

    def fields_or_none(self, name: str) -> Fields | None:
        """An object; None if it is null or missing."""
        return None if self._values.get(name) is None else self.fields(name)

    def list_of_text(self, name: str, count: int, limit: int = 4096) -> list[str]:
        """At most `count` strings, each as `text`."""
        return [Fields({name: item}).text(name, limit) for item in self._list(name, count)]

    def list_of_fields(self, name: str, count: int) -> list[Fields]:
        """At most `count` objects."""
        return [Fields(item) for item in self._list(name, count)]

    def pairs(self, name: str, count: int, limit: int) -> dict[str, str]:
        """An object of at most `count` strings; missing is empty. No name is empty or has a `=`."""
        found: dict[str, str] = {}
        value = self._values.get(name)
        inner = Fields({} if value is None else value)
        if len(inner._values) > count:
            raise WireError(f"`{name}`: more than {count}")
        for key in inner._values:
            if not key or "=" in key or "\0" in key:
                raise WireError(f"`{name}`: bad name")
            found[key] = inner.text(key, limit)
        return found

    def _list(self, name: str, count: int) -> list[object]:
        value = self._values.get(name)
        if type(value) is not list or len(value) > count:  # pyright: ignore[reportUnknownArgumentType]
            raise WireError(f"`{name}`: expected a list of at most {count}")
        return value  # pyright: ignore[reportUnknownVariableType]


def b64(data: bytes) -> str:
    """Base64 as it stands in messages."""
    import binascii

    return binascii.b2a_base64(data, newline=False).decode("ascii")
