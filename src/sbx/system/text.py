# SPDX-License-Identifier: Apache-2.0
"""Text that somebody else wrote, made harmless for a terminal or a log (docs/security.md, I11)."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape everything that is not printable: control bytes, line breaks, bidirectional marks."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
