# SPDX-License-Identifier: Apache-2.0
"""DNS messages: what is a question, what is not, and what an answer looks like."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.proxy.dns.message import (
    MAX_MESSAGE,
    BadQueryError,
    Rcode,
    RecordType,
    build_answer,
    build_query,
    parse_query,
)

QUERY = build_query(0x1234, "Example.com", RecordType.A)
OPT = b"\0" + struct.pack("!HHIH", RecordType.OPT, 1232, 0, 0)


def with_counts(data: bytes, *counts: int) -> bytes:
    return data[:4] + struct.pack("!4H", *counts) + data[12:]


def test_a_question_keeps_its_bytes() -> None:
    query = parse_query(QUERY)
    assert (query.name, query.type, query.record_class) == ("Example.com", RecordType.A, 1)
    assert query.question == QUERY[12:]
    assert query.edns is None


def test_an_answer_repeats_the_question_as_it_was_written() -> None:
    data = build_answer(parse_query(QUERY), Rcode.NOERROR, IPv4Address("198.18.0.9"), ttl_s=30)
    number, flags, *counts = struct.unpack_from("!6H", data)
    assert (number, flags, counts) == (0x1234, 0x8180, [1, 1, 0, 0])
    assert data[12 : len(QUERY)] == QUERY[12:]
    tail = b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\xc6\x12\0\x09"
    assert data[len(QUERY) :] == tail


def test_edns_is_answered_with_edns() -> None:
    query = parse_query(with_counts(QUERY, 1, 0, 0, 1) + OPT)
    assert query.edns == 0
    answer = build_answer(query, Rcode.BADVERS)
    assert answer[-11:] == b"\0" + struct.pack("!HHIH", RecordType.OPT, 1232, 1 << 24, 0)
    assert answer[3] & 0xF == 0


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (b"", None),
        (QUERY[:11], None),
        (QUERY[:2] + b"\x81\x80" + QUERY[4:], None),
        (QUERY[:2] + b"\x28\x00" + QUERY[4:], Rcode.NOTIMP),
        (QUERY[:2] + b"\x02\x00" + QUERY[4:], Rcode.FORMERR),
        (with_counts(QUERY, 0, 0, 0, 0), Rcode.FORMERR),
        (with_counts(QUERY, 2, 0, 0, 0) + QUERY[12:], Rcode.FORMERR),
        (with_counts(QUERY, 1, 1, 0, 0), Rcode.FORMERR),
        (with_counts(QUERY, 1, 0, 0, 2) + OPT + OPT, Rcode.FORMERR),
        (with_counts(QUERY, 1, 0, 0, 1) + OPT[:-2] + b"\0\x04", Rcode.FORMERR),
        (with_counts(QUERY, 1, 0, 0, 1) + b"\0\0\x01" + OPT[3:], Rcode.FORMERR),
        (QUERY + b"x", Rcode.FORMERR),
        (QUERY[:-1], Rcode.FORMERR),
        (QUERY[:12] + b"\xc0\x0c" + QUERY[-4:], Rcode.FORMERR),
        (QUERY[:12] + b"\x40" + b"a" * 64 + b"\0" + QUERY[-4:], Rcode.FORMERR),
        (QUERY[:12] + b"\x03a.b\0" + QUERY[-4:], Rcode.FORMERR),
        (QUERY[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0" + QUERY[-4:], Rcode.FORMERR),
        (QUERY + b"\0" * MAX_MESSAGE, Rcode.FORMERR),
    ],
)
def test_what_is_no_question_is_refused(data: bytes, rcode: Rcode | None) -> None:
    with pytest.raises(BadQueryError) as raised:
        parse_query(data)
    assert raised.value.rcode == rcode


@given(st.binary(max_size=600))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    try:
        query = parse_query(data)
    except BadQueryError:
        return
    assert data[12:].startswith(query.question)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_damaged_question_is_read_or_refused(junk: bytes, at: int) -> None:
    try:
        query = parse_query(QUERY[:at] + junk + QUERY[at + len(junk) :])
    except BadQueryError:
        return
    assert len(query.name) <= 255
