# SPDX-License-Identifier: Apache-2.0
"""Bodies of HTTP/1.1 messages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.proxy.http.body import (
    LAST_CHUNK,
    BadBodyError,
    Body,
    Chunked,
    NoBody,
    Sized,
    UntilEnd,
    chunk,
)


def _read(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """What is read, and what stands behind it."""
    buffer, found = bytearray(), b""
    for piece in pieces:
        buffer += piece
        found += body.take(buffer)
    return found, bytes(buffer)


@given(data=st.lists(st.binary(max_size=50), max_size=5), cuts=st.lists(st.integers(0, 300)))
def test_chunks_survive_any_cuts(data: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(chunk, data)) + LAST_CHUNK + b"next"
    points = sorted({0, len(wire), *(min(c, len(wire)) for c in cuts)})
    pieces = [wire[a:b] for a, b in pairwise(points)]
    body = Chunked()
    assert _read(body, pieces) == (b"".join(data), b"next")
    assert body.done


@given(data=st.binary(max_size=200))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    body = Chunked()
    try:
        _read(body, [data])
    except BadBodyError:
        return
    assert body.done or len(data) < 5000


@pytest.mark.parametrize(
    "wire",
    [b"x\r\n", b"-1\r\n", b"0x5\r\n", b"5\n", b"\r\n", b" 5\r\n", b"5\r\nhelloXX", b"1\r\na\n\n",
     b"5;a\x00\r\n", b"0\r\nbad trailer\r\n\r\n", b"1" * 13 + b"\r\n", b"5" + b";" * 5000,
     b"0\r\n" + b"A: b\r\n" * 2000, b"5 5\r\n", b"+5\r\n"],
)  # fmt: skip
def test_chunks_that_are_refused(wire: bytes) -> None:
    with pytest.raises(BadBodyError):
        _read(Chunked(), [wire])


def test_extensions_and_trailers_are_left_out() -> None:
    wire = b"5;name=value\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nrest"
    assert _read(Chunked(), [wire]) == (b"hello", b"rest")


def test_the_other_framings() -> None:
    assert _read(Sized(3), [b"a", b"bcd"]) == (b"abc", b"d")
    assert _read(NoBody(), [b"next"]) == (b"", b"next")
    until = UntilEnd()
    assert _read(until, [b"a", b"b"]) == (b"ab", b"")
    assert not until.done
    until.end_of_input()
    assert until.done
    with pytest.raises(BadBodyError):
        Sized(1).end_of_input()


@given(
    data=st.lists(st.binary(max_size=50), max_size=5),
    cuts=st.lists(st.integers(0, 300)),
    chunked=st.booleans(),
)
def test_what_passes_uncopied_is_what_would_be_taken(
    data: list[bytes], cuts: list[int], chunked: bool
) -> None:
    whole = b"".join(data)
    wire = b"".join(map(chunk, data)) + LAST_CHUNK if chunked else whole
    points = sorted({0, len(wire), *(min(c, len(wire)) for c in cuts)})
    body: Body = Chunked() if chunked else Sized(len(whole))
    buffer, found = bytearray(), b""
    for a, b in pairwise(points):
        if not buffer and body.passes(wire[a:b]):
            found += wire[a:b]
            continue
        buffer += wire[a:b]
        found += body.take(buffer)
    assert found == whole
    assert body.done


def test_what_is_behind_a_body_does_not_pass() -> None:
    body = Sized(3)
    assert not body.passes(b"abcd")
    assert body.passes(b"ab")
    assert not body.done
    assert not NoBody().passes(b"x")
    assert UntilEnd().passes(b"x")
