# SPDX-License-Identifier: Apache-2.0
"""Taking values out of what comes back, also where one lies across the border of two pieces.

Found are the value itself, its usual spellings (base64, percent-encoded, escaped for JSON and
HTML), and the pair of a Basic header. A piece is passed on at once but for an end that could be
the beginning of a value: an event stream is not held up.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

from sbx.credential.inject import Grant
from sbx.credential.places import Style

_MIN = 4  # of shorter values, every other text would be full

Pair = tuple[bytes, bytes]  # what is looked for, and what stands there instead


class Needles:
    """What is looked for, compiled; truthy if there is anything."""

    __slots__ = ("pattern", "stand_ins")

    def __init__(self, found: Iterable[Pair]) -> None:
        self.stand_ins = dict(sorted(found, key=lambda pair: -len(pair[0])))
        self.pattern = re.compile(b"|".join(map(re.escape, self.stand_ins)))

    def __bool__(self) -> bool:
        return bool(self.stand_ins)

    def same_length(self) -> Needles:
        """The same, with stand-ins as long as what they replace: lengths said elsewhere hold."""
        return Needles(
            (what, stand_in.ljust(len(what), b"*")[: len(what)])
            for what, stand_in in self.stand_ins.items()
        )


def needles(grants: Iterable[Grant]) -> Needles:
    """What is to be taken out of answers after these were put in."""
    found: dict[bytes, bytes] = {}
    for grant in grants:
        value, stand_in = grant.value.reveal(), grant.due.binding.placeholder
        if len(value) < _MIN:
            continue
        for spell in _SPELLINGS:
            found.setdefault(spell(value).encode(), spell(stand_in).encode())
        if grant.due.place.style is Style.BASIC:
            user = grant.due.place.username
            found.setdefault(
                _base64(f"{user}:{value}").encode(), _base64(f"{user}:{stand_in}").encode()
            )
    return Needles(found.items())


class Scrubber:
    """Takes values out of one stream of bytes, or of single texts."""

    def __init__(self, looked_for: Needles) -> None:
        self._stand_ins = looked_for.stand_ins
        self._pattern = looked_for.pattern
        self._held = b""
        self.count = 0  # values that were taken out

    def text(self, data: bytes) -> bytes:
        """A whole text, such as the value of a header."""
        if not self._stand_ins:
            return data
        clean, count = self._pattern.subn(lambda found: self._stand_ins[found[0]], data)
        self.count += count
        return clean

    def feed(self, data: bytes) -> bytes:
        """The next piece of the stream: what of it, and of what was held, may go on now."""
        if not self._stand_ins:
            return data
        data = self._held + data
        keep = self._tail(data)
        # A whole value that begins before `keep` and ends behind it is not cut in two.
        for found in self._pattern.finditer(data) if keep else ():
            if found.start() < len(data) - keep < found.end():
                keep = len(data) - found.end()
        cut = len(data) - keep
        self._held = data[cut:]
        return self.text(data[:cut])

    def finish(self) -> bytes:
        """What was held at the end."""
        rest, self._held = self._held, b""
        return self.text(rest)

    def _tail(self, data: bytes) -> int:
        """The length of the longest end that is the beginning of a value."""
        longest = 0
        for needle in self._stand_ins:
            at = max(len(data) - len(needle) + 1, 0)
            while (at := data.find(needle[:1], at)) >= 0 and len(data) - at > longest:
                if needle.startswith(data[at:]):
                    longest = len(data) - at
                    break
                at += 1
        return longest


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    _base64,
    lambda text: _base64(text).rstrip("="),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    lambda text: quote(text, safe=""),
    quote_plus,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    html.escape,
    lambda text: text.encode().hex(),
)
