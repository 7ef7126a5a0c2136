# SPDX-License-Identifier: Apache-2.0
"""What scripts and people are shown: the keys, columns and sentences of `sbx policy`."""

from __future__ import annotations

import json

import pytest

from sbx.policy import views
from sbx.policy.engine import closed_policy
from sbx.policy.hosts import parse_address
from sbx.policy.presets import Preset
from sbx.policy.rules import CreatedVia, DenyKind, Effect, Origin
from sbx.policy.ruleset import RuleSet
from sbx.policy.views import Filter
from tests.unit.policy.factories import policy, rule, to

GET = rule("allow a.com:443,b.com", methods="GET,HEAD", path="/v1/**", sandbox="s")
DENY = rule("deny c.com")
KIT = rule("allow k.com:443", sandbox="s", kit=True)
RULES = RuleSet(preset=Preset.DENY_ALL, added=(GET, DENY, KIT))
OPEN = RuleSet(preset=Preset.ALLOW_ALL, added=(KIT,))


def test_a_row_of_an_http_rule() -> None:
    assert views.rule_row(RULES, GET) == {
        "id": GET.id,
        "name": GET.name,
        "policy_id": "local-policy:s",
        "scope": "sandbox:s",
        "applies_to": "s",
        "resource_type": "http",
        "decision": "allow",
        "protocols": ["tcp"],
        "resources": ["a.com:443", "b.com"],
        "origin": "local",
        "status": "active",
        "editable": True,
        "provenance": {"created_via": "added"},
        "http_targets": [
            {"host": "a.com:443", "methods": ["GET", "HEAD"], "path": "/v1/**"},
            {"host": "b.com", "methods": ["GET", "HEAD"], "path": "/v1/**"},
        ],
    }


def test_a_row_of_a_kit_rule() -> None:
    row = views.rule_row(RULES, KIT)
    assert row["policy_id"] == "kit:s"
    assert row["origin"] == "kit"
    assert row["editable"] is False
    assert row["status"] == "inactive"
    assert row["provenance"] == {"created_via": "provisioned"}
    assert "http_targets" not in row
    assert views.rule_row(OPEN, KIT)["status"] == "active"


def test_rows_are_json() -> None:
    every = Filter(include_inactive=True)
    assert json.loads(json.dumps(views.rows(RULES, every))) == views.rows(RULES, every)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(), [GET.id, DENY.id]),
        (Filter(include_inactive=True), [GET.id, DENY.id, KIT.id]),
        (Filter(sandbox="other"), [DENY.id]),
        (Filter(type="http"), [GET.id]),
        (Filter(type="filesystem"), []),
        (Filter(source=Origin.KIT, include_inactive=True), [KIT.id]),
        (Filter(source=Origin.ORG), []),
        (Filter(decision=Effect.DENY), [DENY.id]),
        (Filter(created_via=CreatedVia.PROVISIONED, include_inactive=True), [KIT.id]),
        (Filter(protocol="udp"), [DENY.id]),
    ],
)
def test_filters(wanted: Filter, ids: list[str]) -> None:
    assert [row["id"] for row in views.rows(RULES, wanted)] == ids


def test_the_table() -> None:
    lines = [line.cells() for line in views.table(RULES, Filter(include_inactive=True))]
    assert lines == [
        ["local-policy:s", "local", "s", "http: 2 allow", "active"],
        ["local-policy", "local", "all", "network: 1 deny", "active"],
        ["kit:s", "kit", "s", "network: 1 allow", "inactive"],
    ]
    both = RuleSet(preset=Preset.ALLOW_ALL, added=(DENY, rule("allow x.com", path="/x")))
    assert views.table(both, Filter())[0].summary == "network: 1 allow, 1 deny; http: 1 allow"


def test_the_wide_table() -> None:
    cells = views.wide_cells(GET)
    assert len(cells) == len(views.WIDE_COLUMNS)
    assert cells[6:] == ["http", "GET,HEAD", "/v1/**", "allow", "a.com:443, b.com"]
    assert views.wide_cells(DENY)[6:] == ["network", "-", "-", "deny", "c.com"]


def test_inspect() -> None:
    assert views.find(RULES, "local-policy") == [DENY]
    assert views.find(RULES, GET.id) == [GET]
    assert views.find(RULES, "kit:s") == [KIT]
    assert views.find(RULES, "nothing") == []
    assert views.inspect_cells(RULES, [GET, DENY]) == [
        ["allow", "a.com:443", "http", "GET,HEAD /v1/**", "active"],
        ["allow", "b.com", "http", "GET,HEAD /v1/**", "active"],
        ["deny", "c.com", "network", "-", "active"],
    ]


def test_an_answer_of_check() -> None:
    decision = RULES.compile().connection(to("c.com"))
    row = views.check_row(decision, to("c.com"), typed="c.com", sandbox=None)
    assert row == {
        "allowed": False,
        "action": "connect",
        "context": "global",
        "governance": {"active": False},
        "reason": "denied by rule deny c.com (c.com)",
        "resource_type": "network",
        "resource_value": "c.com:443",
        "target": "c.com",
        "type": "network",
        "inspected": False,
        "deny_kind": "rule",
        "origin": "local",
        "rule": "deny c.com",
    }
    decision = RULES.compile("s").request(to("a.com"), "GET", "/v1/x")
    row = views.check_row(
        decision, to("a.com"), typed="https://a.com/v1/x", sandbox="s", method="GET"
    )
    assert (row["allowed"], row["action"], row["context"]) == (True, "GET", "sandbox:s")
    assert "deny_kind" not in row


def test_an_answer_for_a_person() -> None:
    decision = RULES.compile().connection(to("x.com"))
    assert views.check_lines(decision, to("x.com"), typed="x.com", sandbox=None) == [
        "Denied: x.com:443",
        "Reason: no matching allow rule (default deny)",
        "Hint: sbx policy allow network x.com:443",
    ]
    decision = OPEN.compile().connection(to("x.com"))
    assert views.check_lines(decision, to("x.com"), typed="x.com", sandbox=None) == [
        "Allowed: x.com"
    ]


def test_remedies() -> None:
    denied = RULES.compile("s").connection(to("x.com:22"))
    assert (
        views.remedy(denied, to("x.com:22"), "s") == "sbx policy allow network --sandbox s x.com:22"
    )
    denied = RULES.compile().connection(to("c.com"))
    assert (
        views.remedy(denied, to("c.com"))
        == f"sbx policy rm network --id {DENY.id} --resource 'c.com'"
    )
    kit = rule("deny k.com", sandbox="s", kit=True)
    assert views.remedy(policy(kit, sandbox="s").connection(to("k.com")), to("k.com")) is None
    closed = closed_policy(DenyKind.UNINITIALIZED, "why").connection(to("c.com"))
    assert views.remedy(closed, to("c.com")) == "sbx policy init balanced"


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("10.0.0.1", "sbx policy allow network 10.0.0.1:443"),
        ("fd00::1", "sbx policy allow network [fd00::1]:443"),
        ("169.254.169.254", None),
        ("fe80::1", None),
    ],
)
def test_the_remedy_for_an_address_allows_it(address: str, command: str | None) -> None:
    found = parse_address(address)
    denied = OPEN.compile().dial(to("x.com"), found)
    assert views.remedy(denied, to("x.com")) == command
    if command is not None:
        more = policy("allow **", f"allow {command.split()[-1]}")
        assert more.dial(to("x.com"), found).allowed


def test_a_block_explains_itself() -> None:
    denied = RULES.compile().connection(to("c.com"))
    assert views.block_text(denied, to("c.com")).splitlines() == [
        "Blocked by network policy: c.com:443",
        "  detail: denied by rule deny c.com (c.com)",
        "  rule: deny c.com",
        "  origin: local",
        "The user can allow it, on the host, with:",
        f"  sbx policy rm network --id {DENY.id} --resource 'c.com'",
        "This works on the host only, and there is no other way out. An agent should tell the user",
        "this command, or go on without it; once it is allowed, the same request works at once.",
    ]


def test_a_block_that_no_command_opens_says_so() -> None:
    denied = OPEN.compile().dial(to("x.com"), parse_address("169.254.169.254"))
    text = views.block_text(denied, to("x.com"))
    assert "a cloud metadata address that no rule names" in text
    assert text.endswith("No command allows it: it is closed to every sandbox.\n")
    assert "sbx policy" not in text


def test_what_the_user_is_asked_about() -> None:
    lines = views.approval_text(to("c.com")).splitlines()
    assert lines[:4] == [
        "Approval required for c.com:443.", "", "Review and respond with:",
        "  sbx policy approval ls",
    ]  # fmt: skip
