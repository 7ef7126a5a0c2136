# SPDX-License-Identifier: Apache-2.0
"""Which proxy a connection takes: forms, exceptions, and what comes first."""

from __future__ import annotations

import pytest

from sbx.errors import UserError
from sbx.policy.routes import (
    Configured,
    check_setting,
    find_routes,
    parse_no_proxy,
    parse_proxy,
)
from tests.unit.policy.factories import to


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128"),
        ("HTTP://Proxy.Test", "http://proxy.test:80"),
        ("https://proxy.test/", "https://proxy.test:443"),
        ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
        ("socks5h://[2001:db8::1]:9", "socks5h://[2001:db8::1]:9"),
        ("proxy.test:8080", "http://proxy.test:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("http://user:p%40ss@proxy.test:1", "http://proxy.test:1"),
    ],
)
def test_a_proxy_is_shown_without_its_password(text: str, shown: str) -> None:
    assert str(parse_proxy(text)) == shown


def test_user_and_password_are_decoded_and_not_shown() -> None:
    proxy = parse_proxy("http://us%3Aer:p%40:ss@proxy.test:1")
    assert (proxy.username, proxy.password) == ("us:er", "p@:ss")
    assert "p@:ss" not in repr(proxy)
    assert parse_proxy("http://proxy.test:1").username is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://proxy.test", "scheme"),
        ("http://", "proxy"),
        ("http://proxy.test/path", "nothing may stand"),
        ("http://proxy.test:99999", "port"),
        ("http://127.1:80", "proxy"),
        ("socks5://" + "a" * 256 + "@proxy.test", "too long"),
        ("pac+http://proxy.test/x.pac", "scheme"),
        ("http://a\x00b:80", "proxy"),
    ],
)
def test_what_is_no_proxy_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        parse_proxy(text)
    assert raised.value.hint


def test_an_error_does_not_show_a_password() -> None:
    with pytest.raises(UserError) as raised:
        parse_proxy("http://me:hunter2@bad host:80")
    assert "hunter2" not in f"{raised.value.message} {raised.value.hint}"


def test_a_setting_holds_no_password() -> None:
    with pytest.raises(UserError, match="kept in a file"):
        check_setting("http://me:hunter2@proxy.test")
    for text in ("", "system", "direct", "socks5://proxy.test"):
        assert check_setting(text) == text


@pytest.mark.parametrize(
    ("listed", "covered", "others"),
    [
        ("example.com", "example.com:443 a.example.com:1", "badexample.com:443 example.com.x:1"),
        (".example.com", "example.com:443 a.example.com:1", "badexample.com:443"),
        ("*.example.com", "a.b.example.com:1", "example.org:1"),
        ("example.com:443", "example.com:443 a.example.com:443", "example.com:80"),
        ("10.0.0.0/8, ::1/128", "10.1.2.3:80 [::1]:80", "11.0.0.1:80 [::2]:80 ten.test:80"),
        ("192.0.2.7", "192.0.2.7:1", "192.0.2.8:1"),
        ("192.0.2.7:80", "192.0.2.7:80", "192.0.2.7:81"),
        ("[2001:db8::1]", "[2001:db8::1]:1", "[2001:db8::2]:1"),
        ("*", "example.com:1 192.0.2.1:1", ""),
        ("", "", "example.com:1 192.0.2.1:1"),
        ("a.test b.test", "a.test:1 b.test:1", "c.test:1"),
    ],
)
def test_exceptions(listed: str, covered: str, others: str) -> None:
    found = parse_no_proxy(listed)
    assert [each for each in covered.split() if not found.covers(to(each))] == []
    assert [each for each in others.split() if found.covers(to(each))] == []


@pytest.mark.parametrize("listed", ["127.1", "a b/c", "ex*mple.com", "[::1", "a.test:x"])
def test_an_exception_that_cannot_be_read_is_an_error(listed: str) -> None:
    with pytest.raises(UserError, match="exception"):
        parse_no_proxy(listed)


VARIABLES = {"HTTPS_PROXY": "http://upper:1", "http_proxy": "http://plain:2", "NO_PROXY": "no.test"}


@pytest.mark.parametrize(
    ("configured", "secure", "plain"),
    [
        (Configured(), "http://upper:1", "http://plain:2"),
        (Configured(everything="system"), "http://upper:1", "http://plain:2"),
        (Configured(everything="http://all:3"), "http://all:3", "http://all:3"),
        (Configured(everything="direct"), "None", "None"),
        (Configured(sandbox="socks5://box:4", everything="http://all:3"), "socks5://box:4",
         "socks5://box:4"),
        (Configured(sandbox="direct", everything="http://all:3"), "None", "None"),
        (Configured(sandbox="system", everything="http://all:3"), "http://upper:1",
         "http://plain:2"),
    ],
)  # fmt: skip
def test_the_narrower_setting_comes_first(configured: Configured, secure: str, plain: str) -> None:
    routes = find_routes(configured, VARIABLES)
    assert str(routes.choose(to("site.test:443"))) == secure
    assert str(routes.choose(to("site.test:22"))) == secure
    assert str(routes.choose(to("site.test:80"))) == plain


def test_a_variable_for_everything_is_the_last_choice() -> None:
    routes = find_routes(Configured(), {"all_proxy": "socks5h://all:5", "https_proxy": "sec:6"})
    assert str(routes.choose(to("site.test:443"))) == "http://sec:6"
    assert str(routes.choose(to("site.test:80"))) == "socks5h://all:5"


def test_exceptions_have_the_same_order() -> None:
    def is_straight(configured: Configured, where: str) -> bool:
        return find_routes(configured, VARIABLES).choose(to(where)) is None

    assert is_straight(Configured(), "no.test:443")
    assert is_straight(Configured(everything="http://all:3"), "no.test:443")
    assert not is_straight(Configured(no_proxy="other.test"), "no.test:443")
    assert is_straight(Configured(no_proxy="other.test"), "other.test:443")
    assert is_straight(Configured(no_proxy_sandbox="b.test", no_proxy="other.test"), "b.test:443")


@pytest.mark.parametrize("where", ["localhost:80", "127.0.0.1:80", "[::1]:80"])
def test_this_host_is_never_reached_by_a_proxy(where: str) -> None:
    assert find_routes(Configured(everything="http://all:3"), {}).choose(to(where)) is None
