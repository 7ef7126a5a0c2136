# SPDX-License-Identifier: Apache-2.0
"""Heads of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.proxy.http.answer import BadHeadError, answer_end, parse_answer
from sbx.proxy.http.body import Chunked, NoBody, Sized, UntilEnd


def _head(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode("latin-1")


def test_framing_is_read() -> None:
    assert isinstance(parse_answer(_head()).body("GET"), UntilEnd)
    assert isinstance(parse_answer(_head("Content-Length: 5")).body("GET"), Sized)
    assert isinstance(parse_answer(_head("Content-Length: 5")).body("HEAD"), NoBody)
    assert isinstance(parse_answer(_head("Transfer-Encoding: chunked")).body("GET"), Chunked)
    assert parse_answer(_head("Content-Length: 5", "Content-Length: 5")).length == 5
    assert not parse_answer(_head("Connection: close")).keeps
    assert parse_answer(_head()).keeps
    assert not parse_answer(b"HTTP/1.0 200 OK\r\n\r\n").keeps


@pytest.mark.parametrize(
    "head",
    [
        _head("Content-Length: 1", "Content-Length: 2"),
        _head("Content-Length: 1", "Transfer-Encoding: chunked"),
        _head("Transfer-Encoding: gzip, chunked"),
        _head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        _head("Content-Length: -1"),
        _head("Content-Length: 1, 1"),
        _head("A : b"),
        _head(" folded"),
        _head("A: b\nC: d"),
        _head("A: b\x00"),
        _head(*["A: b"] * 300),
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"200 OK\r\n\r\n",
    ],
)
def test_what_is_refused(head: bytes) -> None:
    with pytest.raises(BadHeadError):
        parse_answer(head)


def test_a_head_is_bounded() -> None:
    assert answer_end(bytearray(b"HTTP/1.1 200 OK\r\n")) is None
    with pytest.raises(BadHeadError):
        answer_end(bytearray(b"x" * 70_000))


@given(data=st.binary(max_size=200))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    try:
        parse_answer(data + b"\r\n\r\n")
    except BadHeadError:
        return
