# SPDX-License-Identifier: Apache-2.0
"""The keys that leave a terminal session without ending it, as `docker attach` has them."""

from __future__ import annotations

from sbx.errors import UserError

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_CONTROL = {chr(code + 96): code for code in range(1, 27)} | {
    "@": 0,
    "[": 27,
    "\\": 28,
    "]": 29,
    "^": 30,
    "_": 31,
}


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `a,ctrl-]` as bytes; an empty text means no keys.

    Raises:
        UserError: a part is neither one character nor `ctrl-` and one.
    """
    if not text:
        return b""
    found = bytearray()
    for part in text.split(","):
        name = part.lower()
        if len(part) == 1 and part.isascii():
            found += part.encode()
        elif name.startswith("ctrl-") and name[5:] in _CONTROL:
            found.append(_CONTROL[name[5:]])
        else:
            raise UserError(
                f"invalid detach keys: `{text}`",
                hint="Use single characters and ctrl-a to ctrl-z, separated by commas",
            )
    return bytes(found)


class DetachMatcher:
    """Watches typed bytes for the keys. What may be their start is held back until it is clear."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass on, and whether the keys were typed (then nothing follows them)."""
        if not self._keys:
            return data, False
        out = bytearray()
        for byte in data:
            while self._held and byte != self._keys[self._held]:
                self._held -= self._give_up(out)
            if byte == self._keys[self._held]:
                self._held += 1
            else:
                out.append(byte)
            if self._held == len(self._keys):
                return bytes(out), True
        return bytes(out), False

    def _give_up(self, out: bytearray) -> int:
        """Pass on as few held bytes as needed so that the rest is again a start of the keys."""
        held = self._keys[: self._held]
        for count in range(1, len(held) + 1):
            if self._keys.startswith(held[count:]):
                out += held[:count]
                return count
        raise AssertionError("the empty start always fits")
