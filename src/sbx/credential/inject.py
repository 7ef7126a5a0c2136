# SPDX-License-Identifier: Apache-2.0
"""Putting values into the head of a request, and finding placeholders that go elsewhere.

Replaces, never appends: where a credential is put in, whatever the guest sent as a credential of
its own is left out, so that it can't act as somebody else beside the user.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from sbx.credential.binding import Binding, Due
from sbx.credential.places import STEERING, Place, Style
from sbx.credential.values import Value

Fields = Sequence[tuple[bytes, bytes]]  # names in lower case

# Headers that say who is asking.
_IDENTIFYING = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key",
     b"x-auth-token", b"private-token"}
)  # fmt: skip
_STEERING = frozenset(name.encode() for name in STEERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A credential that a request gets, with its value."""

    due: Due
    value: Value


def put_in(fields: Fields, grants: Sequence[Grant]) -> list[tuple[bytes, bytes]]:
    """The fields as the server gets them."""
    own = [g for g in grants if g.due.place.style is not Style.REPLACE]
    custom = [g for g in grants if g.due.place.style is Style.REPLACE]
    kept = list(fields)
    if own:
        gone = _IDENTIFYING | {g.due.place.header.encode() for g in own}
        kept = [field for field in kept if field[0] not in gone]
    for grant in custom:
        placeholder = grant.due.binding.placeholder.encode()
        value = grant.value.reveal().encode("ascii")
        kept = [
            (name, content if name in _STEERING else _replace(content, placeholder, value))
            for name, content in kept
        ]
    return kept + [(g.due.place.header.encode(), _rendered(g.due.place, g.value)) for g in own]


def strayed(
    bindings: Iterable[Binding], dues: Sequence[Due], target: str, fields: Fields
) -> Binding | None:
    """A credential whose placeholder is in a head that does not get it, or not in a header."""
    getting = {due.binding.id for due in dues}
    for binding in bindings:
        if not binding.is_canary:
            continue
        placeholder = binding.placeholder.encode()
        text = target.encode("ascii", "replace")
        if placeholder in text or placeholder in unquote_to_bytes(text):
            return binding
        for name, content in fields:
            held = _holds(content, placeholder)
            if held and (binding.id not in getting or name in _STEERING):
                return binding
    return None


def seen_in(bindings: Iterable[Binding], data: bytes) -> Binding | None:
    """A credential whose placeholder is in a piece of a body."""
    return next((b for b in bindings if b.is_canary and b.placeholder.encode() in data), None)


def _rendered(place: Place, value: Value) -> bytes:
    text = value.reveal()
    if place.style is Style.BASIC:
        return basic(place.username, text)
    return place.format.replace("%s", text).encode("ascii")


def basic(username: str, password: str) -> bytes:
    """The value of an `Authorization` header (RFC 7617)."""
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


def _replace(content: bytes, placeholder: bytes, value: bytes) -> bytes:
    if placeholder in content:
        return content.replace(placeholder, value)
    pair = _basic_pair(content)
    if pair is None or placeholder not in pair:
        return content
    return b"Basic " + base64.b64encode(pair.replace(placeholder, value))


def _holds(content: bytes, placeholder: bytes) -> bool:
    pair = _basic_pair(content)
    return placeholder in content or (pair is not None and placeholder in pair)


def _basic_pair(content: bytes) -> bytes | None:
    scheme, _, coded = content.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(coded.strip(), validate=True)
    except binascii.Error:
        return None
