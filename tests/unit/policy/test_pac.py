# SPDX-License-Identifier: Apache-2.0
"""PAC files: where they are, what they are asked, and what their answers mean."""

from __future__ import annotations

import pytest

from sbx.errors import UserError
from sbx.policy.hosts import parse_endpoint
from sbx.policy.pac import answers, parse_pac, question
from sbx.policy.routes import Configured, check_setting, find_routes


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("pac+http://wpad.test/wpad.dat", "http://wpad.test/wpad.dat"),
        ("PAC+https://wpad.test:8443/x?y=1", "https://wpad.test:8443/x?y=1"),
        ("file:///etc/proxy.pac", "/etc/proxy.pac"),
        ("pac+file:///etc/proxy.pac", "/etc/proxy.pac"),
        ("file://localhost/etc/proxy.pac", "/etc/proxy.pac"),
    ],
)
def test_places_of_a_file(text: str, location: str) -> None:
    found = parse_pac(text)
    assert found is not None
    assert found.location == location


@pytest.mark.parametrize("text", ["http://proxy.test:3128", "proxy.test:3128", "socks5://p:1"])
def test_other_texts_are_no_file(text: str) -> None:
    assert parse_pac(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pac+ftp://wpad.test/x", "scheme"),
        ("pac+http:///x", "needs a host"),
        ("pac+http://me:secret@wpad.test/x", "takes no user"),
        ("file://elsewhere/etc/proxy.pac", "begins with `/`"),
        ("pac+http://[::1/x", "Invalid IPv6"),
    ],
)
def test_what_is_no_place(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        parse_pac(text)


def test_a_query_is_not_shown() -> None:
    found = parse_pac("pac+https://wpad.test/x?token=abc")
    assert str(found) == "https://wpad.test/x"


@pytest.mark.parametrize(
    ("to", "url", "host"),
    [
        ("site.test:443", "https://site.test/", "site.test"),
        ("site.test:80", "http://site.test/", "site.test"),
        ("site.test:22", "https://site.test:22/", "site.test"),
        ("192.31.196.7:443", "https://192.31.196.7/", "192.31.196.7"),
        ("[2606:4700::1]:8443", "https://[2606:4700::1]:8443/", "[2606:4700::1]"),
    ],
)
def test_what_a_file_is_asked(to: str, url: str, host: str) -> None:
    assert question(parse_endpoint(to)) == (url, host)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("DIRECT", (None,)),
        ("", (None,)),
        (None, (None,)),
        ("null", (None,)),
        ("PROXY a.test:3128", ("http://a.test:3128",)),
        ("proxy a.test:1;  https b.test:2 ;DIRECT", ("http://a.test:1", "https://b.test:2", None)),
        ("SOCKS a:1; SOCKS5 b:2", ("socks5h://a:1", "socks5h://b:2")),
        ("SOCKS4 a:1; PROXY b:2", ("http://b:2",)),
    ],
)
def test_what_an_answer_means(text: str | None, ways: tuple[str | None, ...]) -> None:
    assert answers(text) == ways


@pytest.mark.parametrize("text", ["SOCKS4 a:1", "PROXY", "nonsense", "DIRECT a:1"])
def test_an_answer_without_a_way_is_not_a_straight_way(text: str) -> None:
    with pytest.raises(ValueError, match="no way is known"):
        answers(text)


def test_the_ways_of_an_answer_are_bounded() -> None:
    assert len(answers("; ".join(f"PROXY p{i}:1" for i in range(99)))) == 10


def test_settings_take_a_file_and_exceptions_come_before_it() -> None:
    assert check_setting("pac+https://wpad.test/x") == "pac+https://wpad.test/x"
    routes = find_routes(Configured(everything="file:///p.pac", no_proxy="site.test"), {})
    assert str(routes.choose(parse_endpoint("other.test:443"))) == "/p.pac"
    assert routes.choose(parse_endpoint("a.site.test:443")) is None
    assert routes.choose(parse_endpoint("127.0.0.1:80")) is None
