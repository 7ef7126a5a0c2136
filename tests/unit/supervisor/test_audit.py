# SPDX-License-Identifier: Apache-2.0
"""From events to entries: the words of the log's columns, and bounds on what the guest writes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from sbx.policy.hosts import parse_endpoint
from sbx.policy.rules import Decision, DenyKind
from sbx.proxy.events import Event, Outcome, Via
from sbx.store.audit import Kind
from sbx.supervisor.audit import to_entry
from tests.unit.policy.factories import policy, rule, to

TO = parse_endpoint("a.com:443")


def test_everything_that_is_known_is_kept() -> None:
    allow = rule("allow **.a.com:443")
    event = Event(
        via=Via.TRANSPARENT,
        outcome=Outcome.PASSED,
        to=to("x.a.com"),
        decision=policy(allow).connection(to("x.a.com")),
        address=ip_address("192.0.2.1"),
        sent_bytes=10,
        received_bytes=20,
        duration_s=1.23456789,
        credentials=("anthropic",),
    )
    entry = to_entry(event)
    assert (entry.kind, entry.allowed, entry.outcome) == (Kind.NETWORK, True, "passed")
    assert (entry.host, entry.port, entry.address) == ("x.a.com", 443, "192.0.2.1")
    assert (entry.rule, entry.rule_id, entry.origin) == (allow.name, allow.id, "local")
    assert entry.resource == "**.a.com:443"
    assert entry.credentials == ("anthropic",)
    assert (entry.sent_bytes, entry.received_bytes, entry.duration_s) == (10, 20, 1.2346)


@pytest.mark.parametrize(
    ("via", "method", "kind", "proxy"),
    [
        (Via.EXPLICIT, "CONNECT", Kind.NETWORK, "forward-bypass"),
        (Via.EXPLICIT, "GET", Kind.HTTP, "forward"),
        (Via.TRANSPARENT, "", Kind.NETWORK, "transparent"),
        (Via.TRANSPARENT, "GET", Kind.HTTP, "transparent"),
        (Via.DNS, "", Kind.DNS, "network"),
    ],
)
def test_kinds_and_ways(via: Via, method: str, kind: Kind, proxy: str) -> None:
    entry = to_entry(Event(via=via, outcome=Outcome.PASSED, to=TO, method=method))
    assert (entry.kind, entry.proxy) == (kind, proxy)


def test_a_denied_look_up() -> None:
    decision = policy().lookup(to("evil.com").host)  # type: ignore[arg-type]  # it is a name
    event = Event(via=Via.DNS, outcome=Outcome.BLOCKED, name="EVIL.com", decision=decision)
    entry = to_entry(event)
    assert (entry.host, entry.port, entry.allowed) == ("evil.com", None, False)
    assert (entry.deny_kind, entry.reason) == ("default", "no matching allow rule (default deny)")


@pytest.mark.parametrize(
    ("outcome", "allowed"),
    [(Outcome.FAILED, True), (Outcome.MALFORMED, False), (Outcome.BLOCKED, False)],
)
def test_without_a_decision_the_outcome_says_it(outcome: Outcome, allowed: bool) -> None:
    assert to_entry(Event(via=Via.EXPLICIT, outcome=outcome)).allowed is allowed


def test_a_connection_that_a_change_ended_is_denied() -> None:
    decision = Decision(allowed=False, kind=DenyKind.RULE, reason="denied by rule x")
    entry = to_entry(Event(via=Via.EXPLICIT, outcome=Outcome.CUT, to=TO, decision=decision))
    assert (entry.allowed, entry.outcome) == (False, "cut")


def test_what_the_guest_writes_is_bounded() -> None:
    event = Event(
        via=Via.EXPLICIT, outcome=Outcome.MALFORMED, name="n" * 9999, method="M" * 9999,
        path="/" * 9999, detail="d" * 9999,
    )  # fmt: skip
    entry = to_entry(event)
    assert len(entry.host) + len(entry.method) + len(entry.path) + len(entry.detail) < 2000
