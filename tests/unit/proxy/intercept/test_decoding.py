# SPDX-License-Identifier: Apache-2.0
"""Bodies that a server compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest

from sbx.proxy.intercept.decoding import BadCodingError, decoder


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"", b"hello hello"),
        (b"identity", b"hello hello"),
        (b"gzip", gzip.compress(b"hello ") + gzip.compress(b"hello")),
        (b"deflate", zlib.compress(b"hello hello")),
    ],
)
def test_codings_are_undone_byte_by_byte(coding: bytes, data: bytes) -> None:
    found = decoder(coding)
    assert b"".join(p for b in data for p in found.feed(bytes([b]))) == b"hello hello"


def test_a_small_body_that_becomes_a_large_one_comes_in_pieces() -> None:
    pieces = decoder(b"gzip").feed(gzip.compress(b"x" * 10_000_000))
    assert max(len(piece) for piece in pieces) <= 64 * 1024


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"x"])
def test_other_codings_are_not_read(coding: bytes) -> None:
    with pytest.raises(BadCodingError):
        decoder(coding)


def test_damage_is_an_error() -> None:
    with pytest.raises(BadCodingError):
        list(decoder(b"gzip").feed(b"not gzip at all"))
