# SPDX-License-Identifier: Apache-2.0
"""One canonical form of a host, and a refusal for everything that could be read in two ways."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.policy.hosts import (
    BadHostError,
    Endpoint,
    parse_address,
    parse_endpoint,
    parse_host,
    parse_port,
    show_host,
    to_ascii,
)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("a_b.example.com", "a_b.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("host.docker.internal", "localhost"),
        ("Host.Docker.Internal.", "localhost"),
        ("1.example", "1.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_a_name_has_one_form(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        ("[::]", "::"),
    ],
)
def test_an_address_has_one_form(text: str, host: str) -> None:
    assert parse_host(text) == ip_address(host)


@pytest.mark.parametrize(
    "text",
    [
        # other spellings of addresses, as inet_aton(3) and browsers read them
        *("127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1"),
        *("0177.0.0.1", "127.0.0.01", "127.0.0.1.", "1.2.3", "1.2.3.4.5", "256.1.1.1", "a.0x1"),
        *("1.2.3.4x.5", "example.123", "0x", "1"),
        # names that are none
        *("", ".", "..", "a..b", ".a", "a..", "-a.com", "a-.com", "a b", "a/b", "a@b", "a%b"),
        *("a\x00b", "a\nb", "a\tb", "\x1b[31m.com", "a" * 64, "a." * 127 + "ab", "*.com", "a:b"),
        # not ASCII on the wire: full-width digits, a Kelvin sign, soft hyphens
        *("bücher.example", "\uff11\uff12\uff17.0.0.1", "\u212a.com", "a\u00adb.com", "a。b"),
        # brackets
        *("::1", "[::1", "::1]", "[]", "[1.2.3.4]", "[fe80::1%eth0]", "[::1]x", "[:::]"),
        *("[::127.0.0.01]", "[12345::]", "[a]"),
    ],
)
def test_what_is_ambiguous_is_refused(text: str) -> None:
    with pytest.raises(BadHostError) as caught:
        parse_host(text)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("text", ["fe80::1%eth0", "1.2.3", "::g", "", "[::1]"])
def test_bare_addresses_are_as_strict(text: str) -> None:
    with pytest.raises(BadHostError):
        parse_address(text)


@pytest.mark.parametrize("text", ["", "0", "65536", "080", "+80", " 80", "80 ", "8_0", "٨٠", "-1"])
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(BadHostError, match="port"):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Example.com:443", "example.com:443"),
        ("example.com", "example.com:80"),
        ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ("[2001:db8::1]", "[2001:db8::1]:80"),
        ("8.8.8.8:53", "8.8.8.8:53"),
        ("host.docker.internal:8080", "localhost:8080"),
    ],
)
def test_endpoints(text: str, shown: str) -> None:
    found = parse_endpoint(text, default_port=80)
    assert str(found) == shown
    assert parse_endpoint(shown) == found


@pytest.mark.parametrize("text", ["a:", ":80", "a:b", "[::1]:", "[::1]80", "::1:80", "a:1:2"])
def test_bad_endpoints_are_refused(text: str) -> None:
    with pytest.raises(BadHostError):
        parse_endpoint(text, default_port=80)


def test_a_port_must_be_there_where_there_is_no_default() -> None:
    with pytest.raises(BadHostError, match="no port"):
        parse_endpoint("example.com")


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("plain.example", "plain.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_person_may_write_other_letters(text: str, ascii_text: str) -> None:
    assert to_ascii(text) == ascii_text


@pytest.mark.parametrize("text", ["straße.example", "a\u200db.example", "a\u202eb.com", "ü" * 64])
def test_letters_without_one_ascii_form_are_refused(text: str) -> None:
    with pytest.raises(BadHostError):
        to_ascii(text)


@given(st.text(max_size=40))
def test_every_text_is_canonical_or_refused(text: str) -> None:
    try:
        host = parse_host(text)
    except BadHostError:
        return
    assert parse_host(show_host(host)) == host
    assert str(Endpoint(host=host, port=1)).isascii()


@given(st.from_regex(r"[0-9a-fx.]{1,20}", fullmatch=True))
def test_nothing_that_ends_in_a_number_is_a_name(text: str) -> None:
    try:
        host = parse_host(text)
    except BadHostError:
        return
    if isinstance(host, str):
        last = host.rpartition(".")[2]
        assert not last.isdigit()
        assert not re.fullmatch(r"0x[0-9a-f]*", last), "what some programs read as a number"
    else:
        assert str(host) == text
