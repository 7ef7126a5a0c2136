# SPDX-License-Identifier: Apache-2.0
"""Arguments of rules: methods, paths, protocols."""

from __future__ import annotations

import pytest

from sbx.errors import UserError
from sbx.policy.hosts import Protocol
from sbx.policy.rules import Effect, parse_http, parse_methods, parse_protocols


def test_methods() -> None:
    assert parse_methods("get, POST") == {"GET", "POST"}
    assert parse_methods("ANY") == frozenset()
    assert parse_methods("GET,any") == frozenset()


@pytest.mark.parametrize("text", ["", ",", "FETCH", "GET POST", "G\x1bET"])
def test_unknown_methods_are_refused(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_methods(text)
    assert caught.value.message.isprintable()


def test_http() -> None:
    assert parse_http(None, None) is None
    found = parse_http("HEAD,GET", None)
    assert found is not None
    assert (found.method_text, str(found.path)) == ("GET,HEAD", "/**")
    found = parse_http(None, "/a")
    assert found is not None
    assert (found.method_text, str(found.path)) == ("ANY", "/a")


def test_protocols() -> None:
    http = parse_http("GET", None)
    assert parse_protocols(None, Effect.ALLOW, None) == {Protocol.TCP}
    assert parse_protocols(None, Effect.DENY, None) == set(Protocol)
    assert parse_protocols(None, Effect.DENY, http) == {Protocol.TCP}
    assert parse_protocols("udp", Effect.ALLOW, None) == {Protocol.UDP}
    assert parse_protocols("TCP, udp", Effect.ALLOW, None) == set(Protocol)
    with pytest.raises(UserError, match="HTTP"):
        parse_protocols("udp", Effect.ALLOW, http)
    with pytest.raises(UserError, match="unknown protocol"):
        parse_protocols("icmp", Effect.ALLOW, None)
