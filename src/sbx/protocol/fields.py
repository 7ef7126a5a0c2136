# SPDX-License-Identifier: Apache-2.0
"""JSON messages, looked at with types and bounds: everything in them comes from a hostile guest.

Keys that nobody asks for are ignored, so that a later generation may add optional ones.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import cast

from sbx.protocol.frames import FrameType, ProtocolError, encode_frame

Body = dict[str, object]


def encode_message(kind: FrameType, body: Body) -> bytes:
    """One frame with a JSON payload in its canonical form (sorted keys, no spaces, ASCII).

    Text that stands for raw bytes (`os.fsdecode`) keeps them as lone surrogates.
    """
    return encode_frame(kind, json.dumps(body, separators=(",", ":"), sort_keys=True).encode())


def b64(data: bytes) -> str:
    """Base64 as it stands in messages."""
    return base64.b64encode(data).decode("ascii")


def parse(payload: bytes) -> Fields:
    """The JSON object of a message.

    Raises:
        ProtocolError: not JSON, not an object, a key twice, or nested too deeply.
    """
    try:
        value: object = json.loads(payload, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not a message") from error
    return Fields(value)


def _unique(pairs: list[tuple[str, object]]) -> Body:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


class Fields:
    """Typed, bounded look-ups in a JSON object. Each raises ProtocolError when it does not fit."""

    def __init__(self, value: object) -> None:
        if type(value) is not dict:
            raise ProtocolError("not an object")
        self._values = cast("Body", value)

    def text(self, name: str, limit: int = 4096) -> str:
        """A string of at most `limit` characters without NUL."""
        value = self._values.get(name)
        if type(value) is not str or len(value) > limit or "\0" in value:
            raise ProtocolError(f"`{name}`: expected a text of at most {limit}")
        return value

    def text_or_none(self, name: str, limit: int = 4096) -> str | None:
        """As `text`; None if it is null or missing."""
        return None if self._values.get(name) is None else self.text(name, limit)

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer from `low` to `high`, both allowed."""
        value = self._values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise ProtocolError(f"`{name}`: expected an integer from {low} to {high}")
        return value

    def integer_or_none(self, name: str, low: int, high: int) -> int | None:
        """As `integer`; None if it is null or missing."""
        return None if self._values.get(name) is None else self.integer(name, low, high)

    def number(self, name: str, low: float, high: float) -> float:
        """A number from `low` to `high`, both allowed."""
        value = self._values.get(name)
        if type(value) not in (int, float) or not low <= cast("float", value) <= high:
            raise ProtocolError(f"`{name}`: expected a number from {low} to {high}")
        return float(cast("float", value))

    def flag(self, name: str) -> bool:
        """True or false; missing is false."""
        value = self._values.get(name, False)
        if type(value) is not bool:
            raise ProtocolError(f"`{name}`: expected true or false")
        return value

    def data(self, name: str, limit: int) -> bytes:
        """Base64 of at most `limit` bytes."""
        try:
            value = base64.b64decode(self.text(name, limit * 2 + 8), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProtocolError(f"`{name}`: not base64") from error
        if len(value) > limit:
            raise ProtocolError(f"`{name}`: longer than {limit} bytes")
        return value

    def fields(self, name: str) -> Fields:
        """An object."""
        return Fields(self._values.get(name))
