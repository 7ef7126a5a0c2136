# SPDX-License-Identifier: Apache-2.0
"""Decisions, case by case: precedence, scopes, addresses, requests, and what is said of them."""

from __future__ import annotations

import pytest

from sbx.policy.engine import closed_policy
from sbx.policy.hosts import Protocol, parse_address
from sbx.policy.rules import DenyKind, Rule
from tests.unit.policy.factories import name, policy, rule, to


def test_nothing_is_allowed_by_no_rules() -> None:
    decision = policy().connection(to("example.com"))
    assert not decision.allowed
    assert decision.kind is DenyKind.DEFAULT
    assert decision.reason == "no matching allow rule (default deny)"
    assert decision.origin == "default"
    assert not policy().lookup(name("example.com")).allowed
    assert not policy().request(to("example.com"), "GET", "/").allowed
    assert not policy().dial(to("example.com"), parse_address("8.8.8.8")).allowed


def test_a_decision_names_its_rule() -> None:
    allow = rule("allow **.example.com:443")
    decision = policy(allow).connection(to("a.example.com"))
    assert decision.allowed
    assert decision.rule is allow
    assert str(decision.resource) == "**.example.com:443"
    assert decision.origin == "local"
    assert decision.reason == "allowed by rule allow **.example.com:443 (**.example.com:443)"


@pytest.mark.parametrize(
    ("pattern", "allowed", "denied"),
    [
        ("example.com", ["example.com:1", "EXAMPLE.com."], ["a.example.com", "example.com.evil.x"]),
        ("example.com:443", ["example.com:443"], ["example.com:80"]),
        ("*.example.com", ["a.example.com"], ["example.com", "a.b.example.com", "xexample.com"]),
        ("**.example.com", ["example.com", "a.b.example.com"], ["xexample.com", "com"]),
        ("8.8.8.8", ["8.8.8.8:53"], ["8.8.4.4", "[64:ff9b::808:808]"]),
        ("8.8.0.0/16:53", ["8.8.4.4:53"], ["8.8.4.4:54", "8.9.0.1:53"]),
        ("2001:4860::/32", ["[2001:4860::8888]"], ["[2001:4861::1]", "8.8.8.8"]),
        ("**", ["a.b", "8.8.8.8", "[2606:4700::1]"], ["127.0.0.1", "10.0.0.1", "localhost"]),
        ("**:443", ["a.b:443"], ["a.b:80"]),
        ("crl*.x.com", ["crl3.x.com"], ["crl.a.x.com", "acrl.x.com"]),
    ],
)
def test_patterns(pattern: str, allowed: list[str], denied: list[str]) -> None:
    decide = policy(f"allow {pattern}").connection
    assert [text for text in allowed if not decide(to(text)).allowed] == []
    assert [text for text in denied if decide(to(text)).allowed] == []


@pytest.mark.parametrize(
    "rules",
    [
        ["allow example.com", "deny example.com"],
        ["deny **", "allow example.com"],
        ["allow example.com:443", "deny **.com"],
        ["deny exampl?.com:443", "allow **"],
    ],
)
def test_a_deny_beats_an_allow_in_any_order(rules: list[str]) -> None:
    for order in (rules, rules[::-1]):
        decision = policy(*order).connection(to("example.com"))
        assert not decision.allowed
        assert decision.kind is DenyKind.RULE
        assert not policy(*order).request(to("example.com"), "GET", "/").allowed


def test_scopes() -> None:
    rules = (rule("allow a.com", sandbox="one"), rule("deny b.com", sandbox="one"), "allow b.com")
    for sandbox, a, b in (("one", True, False), ("two", False, True), (None, False, True)):
        found = policy(*rules, sandbox=sandbox)
        assert found.connection(to("a.com")).allowed is a
        assert found.connection(to("b.com")).allowed is b


def test_a_global_deny_beats_the_allow_of_a_sandbox_and_of_a_kit() -> None:
    rules = (rule("allow a.com", sandbox="s"), rule("allow a.com", sandbox="s", kit=True))
    assert policy(*rules, sandbox="s").connection(to("a.com")).allowed
    assert not policy(*rules, "deny a.com", sandbox="s").connection(to("a.com")).allowed


def test_protocols() -> None:
    udp = Protocol.UDP
    assert not policy("allow a.com").connection(to("a.com", udp)).allowed
    both = rule("allow a.com", protocols="tcp,udp")
    assert policy(both).connection(to("a.com", udp)).allowed
    assert not policy(both, "deny a.com").connection(to("a.com", udp)).allowed
    only_tcp = rule("deny a.com", protocols="tcp")
    assert policy(both, only_tcp).connection(to("a.com", udp)).allowed


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        (["allow a.com:22"], True),
        (["allow a.com:22", "deny a.com:22"], False),
        (["allow a.com", "deny a.com:22"], True),
        (["allow a.com", "deny **.com"], False),
        (["allow b.com"], False),
        (["allow 8.8.8.8"], False),
    ],
)
def test_a_name_is_looked_up_if_some_port_is_open(rules: list[str], *, allowed: bool) -> None:
    assert policy(*rules).lookup(name("a.com")).allowed is allowed


def test_a_name_with_http_rules_alone_is_looked_up() -> None:
    assert policy(rule("allow a.com", path="/x")).lookup(name("a.com")).allowed
    assert not policy(rule("deny a.com", path="/x")).lookup(name("a.com")).allowed


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.1.1",
        "169.254.169.254",
        "224.0.0.1",
        "0.0.0.0",
        "198.18.0.5",
        "::1",
        "fd00::1",
        "fd00:ec2::254",
        "fe80::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
    ],
)
@pytest.mark.parametrize("allow", ["**", "example.com", "0.0.0.0/0,::/0,example.com"])
def test_a_name_does_not_lead_to_a_special_address(address: str, allow: str) -> None:
    """Rebinding: what an allowed name resolves to is judged at each dial."""
    found = policy(f"allow {allow}")
    target = to("example.com")
    assert found.connection(target).allowed
    assert found.dial(target, parse_address("8.8.8.8")).allowed
    decision = found.dial(target, parse_address(address))
    assert not decision.allowed
    assert decision.kind is DenyKind.ADDRESS
    assert "example.com is at" in decision.reason


@pytest.mark.parametrize("text", ["127.0.0.1:80", "10.0.0.1", "169.254.169.254:80", "[::1]:80"])
def test_a_special_address_itself_is_refused(text: str) -> None:
    decision = policy("allow **", "allow 0.0.0.0/0", "allow ::/0").connection(to(text))
    assert not decision.allowed
    assert decision.kind is DenyKind.ADDRESS


@pytest.mark.parametrize(
    ("allow", "text"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("10.0.0.0/8", "10.0.0.1"),
        ("169.254.169.254", "169.254.169.254:80"),
        ("[::1]:80", "[::1]:80"),
        ("fc00::/7", "[fd00::1]"),
    ],
)
def test_a_rule_can_name_it(allow: str, text: str) -> None:
    assert policy(f"allow {allow}").connection(to(text)).allowed


def test_a_range_does_not_name_a_metadata_address() -> None:
    for allow, text in (("169.254.0.0/16", "169.254.169.254"), ("fd00::/8", "[fd00:ec2::254]")):
        assert not policy(f"allow {allow}").connection(to(text)).allowed


def test_a_private_address_of_a_name_needs_two_rules_or_a_private_one() -> None:
    target, address = to("db.corp:5432"), parse_address("10.0.0.5")
    assert not policy("allow db.corp:5432").dial(target, address).allowed
    assert not policy("allow db.corp:5432", "allow 10.0.0.5:80").dial(target, address).allowed
    assert policy("allow db.corp:5432", "allow 10.0.0.5:5432").dial(target, address).allowed
    private = rule("allow db.corp", private=True)
    found = policy("allow **", private)
    assert found.dial(target, address).allowed
    assert found.dial(target, parse_address("192.0.2.5")).allowed
    for other in (
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
    ):
        assert not found.dial(target, parse_address(other)).allowed
    assert not found.dial(to("other.corp"), address).allowed


def test_a_deny_of_addresses_holds_for_names_and_wrappings() -> None:
    found = policy("allow **", "deny 8.8.0.0/16")
    assert not found.connection(to("8.8.8.8")).allowed
    assert not found.connection(to("[64:ff9b::808:808]")).allowed
    assert not found.dial(to("dns.example"), parse_address("8.8.8.8")).allowed
    assert not found.dial(to("dns.example"), parse_address("64:ff9b::808:808")).allowed
    assert found.dial(to("dns.example"), parse_address("9.9.9.9")).allowed


def test_requests_to_a_wrapped_address_meet_the_denies_of_what_it_wraps() -> None:
    wrapped = to("[64:ff9b::808:808]")
    assert policy("allow **").request(wrapped, "GET", "/").allowed
    assert not policy("allow **", "deny 8.8.8.8").request(wrapped, "GET", "/").allowed
    carved = policy("allow **", rule("deny 8.8.8.8", path="/x"))
    assert not carved.request(wrapped, "GET", "/x").allowed
    assert carved.request(wrapped, "GET", "/y").allowed
    assert carved.connection(wrapped).inspect


def test_an_address_is_dialled_as_asked() -> None:
    decision = policy("allow **").dial(to("8.8.8.8"), parse_address("9.9.9.9"))
    assert decision.kind is DenyKind.ADDRESS


@pytest.mark.parametrize("text", ["localhost:8080", "host.docker.internal:8080"])
def test_the_host_itself_is_reached_by_its_name_alone(text: str) -> None:
    loopback = [parse_address("127.0.0.1"), parse_address("::1")]
    for allow in ("**", "**:8080", "localhos?", "localhost:80"):
        assert not policy(f"allow {allow}").connection(to(text)).allowed
    for allow in ("localhost:8080", "host.docker.internal:8080"):
        found = policy(f"allow {allow}")
        assert found.connection(to(text)).allowed
        assert all(found.dial(to(text), address).allowed for address in loopback)
        assert not found.dial(to(text), parse_address("10.0.0.1")).allowed
        assert not found.dial(to("evil.com:8080"), loopback[0]).allowed
    assert not policy("allow localhost", "deny **").connection(to(text)).allowed
    assert not policy("allow localhost", "deny 127.0.0.0/8").dial(to(text), loopback[0]).allowed


# Requests


def test_an_http_allow_alone_allows_those_requests() -> None:
    found = policy(rule("allow api.x:443", methods="GET,HEAD", path="/v1/**"))
    target = to("api.x")
    connection = found.connection(target)
    assert connection.allowed
    assert connection.inspect
    assert found.request(target, "GET", "/v1/a?b").allowed
    assert not found.request(target, "POST", "/v1/a").allowed
    assert not found.request(target, "get", "/v1/a").allowed
    assert not found.request(target, "GET", "/v2").allowed
    assert not found.request(target, "GET", "/V1/a").allowed
    assert not found.request(to("api.x:80"), "GET", "/v1/a").allowed
    assert not found.connection(to("api.x:443", Protocol.UDP)).allowed


def test_an_http_deny_carves_out_of_a_network_allow() -> None:
    found = policy(
        "allow **.x", rule("deny api.x", methods="DELETE"), rule("deny api.x", path="/admin/**")
    )
    target = to("api.x")
    assert found.connection(target).inspect
    assert not found.connection(to("other.x")).inspect
    assert found.request(target, "GET", "/").allowed
    assert found.request(target, "GET", "/administrator").allowed
    for method, path in (
        *(("DELETE", "/"), ("delete", "/"), ("GET", "/admin"), ("GET", "/admin/")),
        *(("GET", "/ADMIN/x"), ("GET", "/%61dmin"), ("DELETE", "//")),
    ):
        decision = found.request(target, method, path)
        assert not decision.allowed, path
        assert decision.kind is DenyKind.RULE


@pytest.mark.parametrize(
    "path", ["//admin", "/./admin", "/x/../admin", "/%2e%2e/admin", "/x;/admin", "/x%2fadmin", "*"]
)
@pytest.mark.parametrize("text", ["deny api.x", "allow api.x"])
def test_an_ambiguous_path_is_denied_where_paths_count(path: str, text: str) -> None:
    found = policy("allow **", rule(text, path="/admin/**", methods="GET"))
    decision = found.request(to("api.x"), "GET", path)
    assert not decision.allowed
    assert decision.kind is DenyKind.AMBIGUOUS
    assert found.request(to("api.x"), "POST", path).allowed  # no rule about its path
    assert found.request(to("other.x"), "GET", path).allowed


def test_a_network_deny_is_a_floor_under_http_allows() -> None:
    found = policy(rule("allow api.x", path="/**"), "deny **.x")
    assert not found.connection(to("api.x")).allowed
    assert not found.request(to("api.x"), "GET", "/").allowed


def test_an_http_deny_allows_nothing() -> None:
    found = policy(rule("deny api.x", path="/admin"))
    assert not found.connection(to("api.x")).allowed
    assert not found.request(to("api.x"), "GET", "/").allowed


def test_http_rules_alone_do_not_name_every_address() -> None:
    found = policy(rule("allow **", path="/x"), rule("allow 10.0.0.1:80", path="/x"))
    assert not found.connection(to("127.0.0.1:80")).allowed
    assert found.connection(to("10.0.0.1:80")).inspect
    assert not found.connection(to("10.0.0.1:81")).allowed


def test_the_first_of_several_rules_is_named() -> None:
    rules: list[Rule] = [rule("allow **"), rule("allow a.com"), rule("allow **.com")]
    assert policy(*rules).connection(to("a.com")).rule is rules[0]
    assert policy(*rules[::-1]).connection(to("a.com")).rule is rules[2]


@pytest.mark.parametrize("kind", [DenyKind.UNINITIALIZED, DenyKind.UNREADABLE])
def test_a_closed_policy_says_why(kind: DenyKind) -> None:
    closed = closed_policy(kind, "because")
    for decision in (
        closed.lookup(name("a.com")),
        closed.connection(to("a.com")),
        closed.dial(to("a.com"), parse_address("8.8.8.8")),
        closed.request(to("a.com"), "GET", "/"),
    ):
        assert (decision.allowed, decision.kind, decision.reason) == (False, kind, "because")
