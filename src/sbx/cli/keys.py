# SPDX-License-Identifier: Apache-2.0
"""Detach keys in docker's notation (`ctrl-p,ctrl-q`, `a`, `ctrl-@`), and finding them in what is typed."""

from __future__ import annotations

from dataclasses import dataclass

from sbx.errors import UserError

_CONTROLS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse_keys(text: str) -> bytes:
    """The bytes that a key sequence sends; none for an empty text, which turns detaching off.

    Raises:
        UserError: it is not a key sequence.
    """
    return b"".join(_key(part, text) for part in text.split(",")) if text else b""


def _key(part: str, whole: str) -> bytes:
    name = part.lower()
    if name == "del":
        return b"\x7f"
    if name.startswith("ctrl-") and len(name) == 6 and name[5] in _CONTROLS:
        return bytes([_CONTROLS.index(name[5])])
    if len(part) == 1 and part.isascii() and part.isprintable():
        return part.encode()
    raise UserError(
        f'invalid --detach-keys: "{whole}"',
        hint="Use one character or ctrl-<letter>, several separated by commas, such as ctrl-p,ctrl-q",
    )


@dataclass(slots=True)
class DetachKeys:
    """Watches typed bytes for the sequence; holds back its beginning until it is known what follows."""

    sequence: bytes
    _seen: int = 0

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete (what follows it is dropped)."""
        if not self.sequence:
            return typed, False
        passed = bytearray()
        for byte in typed:
            self._step(byte, passed)
            if self._seen == len(self.sequence):
                self._seen = 0
                return bytes(passed), True
        return bytes(passed), False

    def _step(self, byte: int, passed: bytearray) -> None:
        """As in Knuth, Morris and Pratt's search, with a table too small to be worth keeping."""
        held = self.sequence[: self._seen] + bytes([byte])
        while held and not self.sequence.startswith(held):
            passed.append(held[0])
            held = held[1:]
        self._seen = len(held)
