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

    __slots__ = ("_pattern", "_roots", "firsts", "stand_ins")

    def __init__(self, found: Iterable[Pair]) -> None:
        self.stand_ins = dict(sorted(found, key=lambda pair: -len(pair[0])))
        self.firsts = tuple((what[:1], what) for what in self.stand_ins)
        # Where one holds another, looking for the inner one finds both.
        self._roots = tuple(
            what
            for what in self.stand_ins
            if not any(other in what for other in self.stand_ins if other != what)
        )
        self._pattern: re.Pattern[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self.stand_ins)

    def are_in(self, data: bytes) -> bool:
        """Whether one is in a text. Each search skips: one pattern of all takes ten times that."""
        return any(root in data for root in self._roots)

    @property
    def pattern(self) -> re.Pattern[bytes]:
        """Of all, the longest first; few ever need it."""
        if self._pattern is None:
            self._pattern = re.compile(b"|".join(map(re.escape, self.stand_ins)))
        return self._pattern

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
        self._needles = looked_for
        self._held = b""
        self.count = 0  # values that were taken out

    def text(self, data: bytes) -> bytes:
        """A whole text, such as the value of a header."""
        if not self._needles.are_in(data):
            return data
        stand_ins = self._needles.stand_ins
        clean, count = self._needles.pattern.subn(lambda found: stand_ins[found[0]], data)
        self.count += count
        return clean

    def feed(self, data: bytes) -> bytes:
        """The next piece of the stream: what of it, and of what was held, may go on now."""
        if not self._needles:
            return data
        if self._held:
            data = self._held + data
        keep = self._tail(data)
        if not self._needles.are_in(data):
            self._held = data[len(data) - keep :] if keep else b""
            return data[:-keep] if keep else data
        # A whole value that begins before `keep` and ends behind it is not cut in two.
        for found in self._needles.pattern.finditer(data) if keep else ():
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
        longest, size = 0, len(data)
        for first, needle in self._needles.firsts:
            at = max(size - len(needle) + 1, 0)
            while (at := data.find(first, at)) >= 0 and size - at > longest:
                if needle.startswith(data[at:]):
                    longest = size - at
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
