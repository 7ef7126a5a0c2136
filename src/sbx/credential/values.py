# SPDX-License-Identifier: Apache-2.0
"""The value of a credential: checked once, never shown by accident."""

from __future__ import annotations

import re

from sbx.errors import UserError

MAX_VALUE = 16 * 1024  # characters; larger than any token, smaller than a head may be
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")
_SHOW_FROM = 20  # of anything shorter, nothing is shown


class Value:
    """A credential's value. Printing, formatting and logging it shows no part of it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Value(****)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a credential's value is not stored by accident")


def check_value(text: str) -> Value:
    """The value of what somebody typed, piped or configured; a last line end is not part of it.

    Raises:
        UserError: it is empty, too long, or could end a header and begin another one.
    """
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise UserError("the value is empty", hint="Pipe the value in, or type it when asked")
    if len(text) > MAX_VALUE:
        raise UserError(f"the value has more than {MAX_VALUE} characters")
    if _FORBIDDEN.search(text):
        raise UserError(
            "the value holds a control character, such as a line end",
            hint="Give one line without tabs",
        )
    if text != text.strip():
        raise UserError("the value begins or ends with a space", hint="Give it without spaces")
    if not text.isascii():
        raise UserError("the value holds a character that no HTTP header can carry")
    return Value(text)


def mask(value: Value) -> str:
    """A form by which the owner knows it, and nobody can use it."""
    text = value.reveal()
    if len(text) < _SHOW_FROM:
        return "****"
    shown = min(10, len(text) // 4)
    return f"{text[:shown]}****...****{text[-4:]}"
