# SPDX-License-Identifier: Apache-2.0
"""Where a credential may be put in."""

from __future__ import annotations

import pytest

from sbx.credential.places import Place, matches_host, parse_header, parse_host_pattern
from sbx.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a.test", ["a.test"], ["b.a.test", "xa.test", "a.test.evil.test", "test"]),
        ("*.a.test", ["b.a.test"], ["a.test", "c.b.a.test", "ba.test", ".a.test"]),
        ("**.a.test", ["a.test", "b.a.test", "c.b.a.test"], ["ba.test", "a.test.b"]),
    ],
)
def test_hosts(pattern: str, yes: list[str], no: list[str]) -> None:
    assert all(matches_host(pattern, host) for host in yes)
    assert not any(matches_host(pattern, host) for host in no)


@pytest.mark.parametrize(
    "text", ["", "*", "**", "**.com", "localhost", "10.0.0.1", "[::1]", "a.test:8443", "a b.test",
             "a.test/x", "http://a.test", "a*.test", "0x7f.1", "a..test", "-a.test"]
)  # fmt: skip
def test_what_no_credential_is_bound_to(text: str) -> None:
    with pytest.raises(UserError):
        parse_host_pattern(text)


def test_a_pattern_is_made_canonical() -> None:
    assert parse_host_pattern(" API.Example.com.:443 ".replace(".:", ":")) == "api.example.com"
    assert parse_host_pattern("**.Example.COM") == "**.example.com"


def test_every_part_of_a_place_counts() -> None:
    place = Place(hosts=("a.test",), methods=frozenset({"POST"}), path="/v1/**")
    assert place.covers("a.test", 443, "POST", "/v1/x?y=../..")
    assert place.covers("a.test", 443, "POST", "/v1")
    for host, port, method, target in (
        ("b.test", 443, "POST", "/v1/x"),
        ("a.test", 8443, "POST", "/v1/x"),
        ("a.test", 80, "POST", "/v1/x"),
        ("a.test", 443, "GET", "/v1/x"),
        ("a.test", 443, "POST", "/v2/x"),
        ("a.test", 443, "POST", "/v1x"),
        ("a.test", 443, "POST", "/v1/../v2"),
        ("a.test", 443, "POST", "/v1/%2e%2e/v2"),
        ("a.test", 443, "POST", "/v1//x"),
        ("a.test", 443, "POST", "/v1/;x"),
        ("a.test", 443, "POST", "/v1/."),
    ):
        assert not place.covers(host, port, method, target), (host, port, method, target)
    assert not Place(hosts=("a.test",)).covers("a.test", 443, "CONNECT", "")


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "a b", "a:b", "", "Proxy-Authorization"]
)
def test_headers_that_no_credential_has(name: str) -> None:
    with pytest.raises(UserError):
        parse_header(name)
    assert parse_header("X-Api-Key") == "x-api-key"
