# SPDX-License-Identifier: Apache-2.0
"""Sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import UserError
from sbx.sandbox.units import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("100b", 100),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("512MB", 512 << 20),
        ("512MiB", 512 << 20),
        ("8g", 8 << 30),
        (" 8 GiB ", 8 << 30),
        ("1.5g", 3 << 29),
        ("0.1k", 102),
        ("2t", 2 << 40),
    ],
)
def test_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "m", "-1m", "1e9", "1 2m", "1.m", ".5g", "1p", "0x10", "1m m", "٣m", "1_000", "9" * 40],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UserError, match="invalid size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (512 << 20, "512 MiB"),
        (3 << 29, "1.5 GiB"),
        ((1 << 30) - 1, "1024 MiB"),
        (32 << 30, "32 GiB"),
        (5 << 40, "5 TiB"),
    ],
)
def test_words(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(min_value=0, max_value=1 << 50))
def test_what_is_written_can_be_read_again(size: int) -> None:
    # One decimal of the unit is kept, so a twentieth of it may be lost.
    assert abs(parse_size(format_size(size)) - size) <= max(size / 20, 1)
