# SPDX-License-Identifier: Apache-2.0
"""Text that somebody else wrote, made harmless for a terminal or a log (docs/security.md, I11)."""

from __future__ import annotations


def printable(text: object) -> str:
    """Text with every control, format and undecodable character shown as an escape."""
    return "".join(char if char.isprintable() else _escape(char) for char in str(text))


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8 (surrogateescape)
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
