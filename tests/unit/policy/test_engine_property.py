# SPDX-License-Identifier: Apache-2.0
"""The compiled policy decides as the slow, obvious one does, for any rules and any question."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sbx.policy.engine import compile_policy
from sbx.policy.hosts import LOCALHOST, Endpoint, Host, Protocol, parse_address, parse_host
from sbx.policy.patterns import Resource, parse_resource
from sbx.policy.rules import Decision, Effect, HttpMatch, Rule, parse_http
from tests.unit.policy.reference import Reference, Verdict

# Thousands of questions to a reference that is slow on purpose: more than a unit test's 5 s on a
# busy machine.
pytestmark = pytest.mark.timeout(60)

LABELS = ("a", "b", "ab", "aab", "x1", "x2")
NAMES = tuple(".".join(p) for n in (1, 2, 3) for p in product(LABELS, repeat=n))
GLOB_LABELS = ("*", "a*", "*b", "a*b", "*a*", "?", "x?", "x[12]", "x[!1]", "[ab]*", "b", "a*b*")
GLOBS = tuple(".".join(p) for n in (2, 3) for p in product(GLOB_LABELS, repeat=n))
ADDRESSES = (
    "8.8.8.8",
    "8.8.4.4",
    "10.0.0.1",
    "10.1.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "169.254.1.1",
    "2001:4860::1",
    "::1",
    "fd00:ec2::254",
    "fd00::1",
    "64:ff9b::808:808",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "::ffff:10.0.0.1",
)
NETWORKS = (
    "8.8.8.8",
    "8.8.0.0/16",
    "10.0.0.0/8",
    "10.0.0.1",
    "0.0.0.0/0",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "169.254.169.254",
    "100.64.0.0/10",
    "::/0",
    "fc00::/7",
    "2001:4860::/32",
    "[::1]",
    "[fd00:ec2::254]",
    "2002::/16",
)
PATTERNS = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from([f"{w}.{name}" for w in ("*", "**") for name in NAMES if name.count(".") < 2]),
    st.sampled_from(GLOBS),
    st.sampled_from(NETWORKS),
    st.sampled_from(["**", "localhost", "host.docker.internal"]),
)
PORTS = (80, 443, 8080)
PATHS = (
    *("/", "/a", "/a/", "/A", "/a/b", "/a/b/c", "/b/a", "/a%62", "/ab", "/a/x1/b", "/a/x2"),
    *("/a//b", "/a/../b", "/a;b", "/a%2fb", "/%2e%2e/a", "/a?x=/b", "*"),
)
PATH_GLOBS = st.sampled_from(
    ["/**", "/a", "/a/", "/a/*", "/a/**", "/**/b", "/a/**/b", "/a/x?/**", "/*", "/?b", "/**/x1/**"]
)
METHODS = ("GET", "POST", "get", "PROPFIND")


def resource(pattern: str, port: int | None) -> Resource:
    if port is None:
        return parse_resource(pattern)
    if ":" in pattern and not pattern.startswith("["):
        pattern = f"[{pattern}]"
    return parse_resource(f"{pattern}:{port}")


def each_once(found: list[Resource]) -> tuple[Resource, ...]:
    return tuple(dict.fromkeys(found))


RESOURCES = st.lists(
    st.builds(resource, PATTERNS, st.sampled_from([None, *PORTS])), min_size=1, max_size=3
).map(each_once)
HTTP = st.builds(parse_http, st.sampled_from(["ANY", "GET", "POST,PUT"]), PATH_GLOBS)
CONNECTION_RULES = st.builds(
    Rule,
    id=st.just(""),
    name=st.just(""),
    effect=st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
    resources=RESOURCES,
    protocols=st.sampled_from([frozenset({one}) for one in Protocol] + [frozenset(Protocol)]),
    sandbox=st.sampled_from([None, None, "one", "two"]),
    private=st.booleans(),
)


def about_requests(rule: Rule, http: HttpMatch | None) -> Rule:
    return replace(rule, http=http, protocols=frozenset({Protocol.TCP}))


def numbered(found: list[Rule]) -> list[Rule]:
    return [replace(rule, id=str(n), name=str(n)) for n, rule in enumerate(found)]


HTTP_RULES = st.builds(about_requests, CONNECTION_RULES, HTTP)
RULES = st.lists(st.one_of(CONNECTION_RULES, HTTP_RULES), max_size=8).map(numbered)

# The questions: names of the alphabet of the rules and others, and every kind of address.
HOSTS: tuple[Host, ...] = (
    *map(parse_host, (*NAMES[:60:3], "a.b.ab", "x1.a.b", "aab.x2.b", "a.b.a.b", "xx.b", "y")),
    *map(parse_address, ADDRESSES),
    LOCALHOST,
)
ENDPOINTS = [Endpoint(host=h, port=p, protocol=q) for h in HOSTS for p in PORTS for q in Protocol]


def verdict(decision: Decision) -> Verdict:
    """What of a decision the reference knows; a denial without a rule is one of several kinds."""
    return Verdict(
        allowed=decision.allowed,
        rule=decision.rule.id if decision.rule else None,
        resource=str(decision.resource) if decision.resource else None,
        inspect=decision.inspect,
    )


@settings(max_examples=60)
@given(RULES)
def test_connections(found: list[Rule]) -> None:
    policy, reference = compile_policy(found, sandbox="one"), Reference(found, "one")
    for to in ENDPOINTS:
        assert verdict(policy.connection(to)) == reference.connection(to), to


@settings(max_examples=60)
@given(RULES, st.sampled_from(PORTS), st.sampled_from(list(Protocol)))
def test_dials(found: list[Rule], port: int, protocol: Protocol) -> None:
    policy, reference = compile_policy(found, sandbox="one"), Reference(found, "one")
    for host in HOSTS[::4]:
        to = Endpoint(host=host, port=port, protocol=protocol)
        for address in map(parse_address, ADDRESSES):
            assert verdict(policy.dial(to, address)) == reference.dial(to, address), (to, address)


@settings(max_examples=100)
@given(RULES, st.sampled_from(HOSTS))
def test_requests(found: list[Rule], host: Host) -> None:
    policy, reference = compile_policy(found, sandbox="one"), Reference(found, "one")
    to = Endpoint(host=host, port=443)
    for method in METHODS:
        for path in PATHS:
            expected = reference.request(to, method, path)
            assert verdict(policy.request(to, method, path)) == expected, (method, path)


@given(PATH_GLOBS, st.sampled_from(["ANY", "GET"]), st.sampled_from(list(Effect)))
def test_paths_of_one_rule(path: str, methods: str, effect: Effect) -> None:
    """Rules drawn at random rarely meet; here each path meets each pattern."""
    everything = parse_resource("**")
    tcp = frozenset({Protocol.TCP})
    allow = Rule(id="a", name="", effect=Effect.ALLOW, resources=(everything,), protocols=tcp)
    rule = replace(allow, id="h", effect=effect, http=parse_http(methods, path))
    found = [rule, allow] if effect is Effect.DENY else [rule]
    policy, reference = compile_policy(found), Reference(found, None)
    to = Endpoint(host=HOSTS[0], port=443)
    for method, target in product(METHODS, PATHS):
        expected = reference.request(to, method, target)
        assert verdict(policy.request(to, method, target)) == expected, (method, target)


@settings(max_examples=60)
@given(RULES)
@example([])
def test_lookups(found: list[Rule]) -> None:
    policy, reference = compile_policy(found, sandbox="one"), Reference(found, "one")
    for host in HOSTS:
        if isinstance(host, str):
            assert policy.lookup(host).allowed == reference.lookup(host), host


@settings(max_examples=60)
@given(RULES)
def test_a_deny_is_never_outvoted(found: list[Rule]) -> None:
    """What the denies deny alone is denied with every allow beside them."""
    denies = compile_policy([rule for rule in found if rule.effect is Effect.DENY])
    policy = compile_policy(found)
    for to in ENDPOINTS:
        if denies.connection(to).rule is not None:
            assert not policy.connection(to).allowed, to
