# SPDX-License-Identifier: Apache-2.0
"""TLS hellos: the name they ask for, and which of them are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.proxy.tls.hello import MAX_BYTES, BadHelloError, parse_hello
from tests.unit.proxy.hellos import (
    extension,
    hello,
    message,
    real_hello,
    record,
    server_names,
    vector,
)


def test_the_hello_of_openssl_is_read() -> None:
    found = parse_hello(real_hello("www.example.com", ["h2", "http/1.1"]))
    assert found is not None
    assert found.server_name == "www.example.com"
    assert found.protocols == ("h2", "http/1.1")


def test_a_hello_without_a_name_says_so() -> None:
    for data in (real_hello(None), hello(), record(message(b"")[:4] + message(b"")[4:])):
        found = parse_hello(data)
        assert found is not None
        assert found.server_name is None


@given(st.integers(0, 400))
def test_a_part_of_a_hello_wants_more(size: int) -> None:
    data = hello(b"example.com", extra=extension(0xFFFF, b"x" * 300))
    assert parse_hello(data[: min(size, len(data) - 1)]) is None


@given(st.integers(7, 4000))
def test_a_hello_may_come_in_many_records(size: int) -> None:
    whole = message(server_names(b"example.com"))
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    found = parse_hello(b"".join(record(part) for part in parts) + b"early data")
    assert found is not None
    assert found.server_name == "example.com"


def test_upper_case_is_the_same_name() -> None:
    found = parse_hello(hello(b"ExAmple.COM"))
    assert found is not None
    assert found.server_name == "example.com"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (hello(b"a.com", b"b.com"), "more than one server name"),
        (hello(b"127.0.0.1"), "no host name"),
        (hello(b"[::1]"), "no host name"),
        (hello(b"2130706433"), "no host name"),
        (hello(b"a.com."), "no host name"),
        (hello(b"a.com\0.evil.com"), "no host name"),
        (hello(b"a\xff.com"), "no host name"),
        (hello(b""), "no host name"),
        (record(message(server_names(b"a.com", kind=1))), "unknown kind"),
        (record(message(server_names(b"a.com") * 2)), "twice"),
        (hello(b"a.com", extra=extension(0xFE0D, b"\0abc")), "encrypted"),
        (hello(b"a.com", extra=extension(0xFE0D, b"\1")), "encrypted"),
        (hello(b"a.com", extra=extension(16, vector(2, b"\0"))), "ALPN"),
        (hello(b"a.com", extra=b"\0\x10\0\x09abc"), "cut off"),
        (record(message(b"", ciphers=b"")), "ciphers"),
        (record(message(b"", ciphers=b"abc")), "ciphers"),
        (record(message(b"", session=b"s" * 33)), "session id"),
        (record(message(b"") + b"\x01"), "behind"),
        (record(b"\x02" + message(b"")[1:]), "does not start with a hello"),
        (record(b"\x01\xff\xff\xff"), "too long"),
        (record(b""), "impossible length"),
        (b"\x16\x03\x01\xff\xff", "impossible length"),
        (b"\x16\x02", "not a version"),
        (b"\x80", "not a TLS handshake"),
        (record(b"\x01") + record(b"x", kind=23), "not a TLS handshake"),
        (b"".join(record(bytes([b])) for b in message(server_names(b"a" * 40))), "too many"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadHelloError, match=why):
        parse_hello(data)


def test_no_beginning_asks_for_bytes_for_ever() -> None:
    endless = record(b"\x01\0\x7f\xff" + b"x" * 100) + record(b"x" * 500) * 64
    with pytest.raises(BadHelloError):
        parse_hello(endless)
    assert len(endless) < MAX_BYTES


@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_read_or_refused(data: bytes, framed: bool) -> None:
    with contextlib.suppress(BadHelloError):
        parse_hello(record(data) if framed else data)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=8))
def test_a_damaged_hello_names_nothing_ambiguous(at: int, junk: bytes) -> None:
    data = hello(b"example.com")
    try:
        found = parse_hello(data[:at] + junk + data[at + len(junk) :])
    except BadHelloError:
        return
    assert found is None or found.server_name is None or found.server_name.isascii()
