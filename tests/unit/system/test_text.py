# SPDX-License-Identifier: Apache-2.0
"""Text of others is harmless once it is escaped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sbx.system.text import printable


def test_control_bytes_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[31mred\x07\r\n") == r"a\x1b[31mred\x07\x0d\x0a"
    assert printable("naïve ✓") == "naïve ✓"
    assert printable("\u202eevil\x9b") == r"\u202eevil\x9b"


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    assert printable(text).isprintable()
