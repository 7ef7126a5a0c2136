# SPDX-License-Identifier: Apache-2.0
"""`sbx policy allow|deny|rm network`: what changes, what is said, what is refused."""

from __future__ import annotations

import json
from typing import cast

import pytest

from sbx.store.paths import POLICY, Paths
from sbx.store.rules import need_policy
from tests.unit.cli.conftest import Call, MakeSandbox


@pytest.fixture(autouse=True)
def _locked_down(sbx: Call) -> None:
    assert sbx("policy", "init", "deny-all").status == 0


def resources(where: Paths) -> list[str]:
    return [f"{r.effect} {p}" for r in need_policy(where).rules() for p in r.resources]


def test_allowing_says_what_it_did(sbx: Call, where: Paths) -> None:
    done = sbx("policy", "allow", "network", "Example.COM,b.org:443", "10.0.0.0/8:22")
    (rule,) = need_policy(where).rules()
    assert done.status == 0
    assert done.out == f"Policy added: {rule.id} (example.com, b.org:443, 10.0.0.0/8:22)\n"
    assert done.err == (
        "Allowed for all sandboxes: example.com (all ports), b.org:443, 10.0.0.0/8:22; tcp\n"
    )
    assert rule.name == "allow-example.com"
    assert sbx("policy", "check", "network", "example.com").status == 0


def test_before_a_posture_is_chosen(sbx: Call, where: Paths) -> None:
    (where.config / POLICY).unlink()
    for verb in (
        ["allow", "network", "a.com"], ["deny", "network", "a.com"], ["ls"],
        ["rm", "network", "--resource", "a.com"], ["check", "network", "a.com"],
        ["inspect", "local-policy"],
    ):  # fmt: skip
        done = sbx("policy", *verb)
        assert done.status == 1
        assert "global network policy has not been initialized" in done.err
        assert "sbx policy init" in done.err


def test_a_sandbox_has_rules_of_its_own(sbx: Call, make_sandbox: MakeSandbox, where: Paths) -> None:
    make_sandbox("one")
    make_sandbox("two")
    done = sbx("policy", "allow", "network", "--sandbox", "one", "a.com")
    assert "Allowed for sandbox one: a.com" in done.err
    check = ["policy", "check", "network", "a.com"]
    assert sbx(*check, "--sandbox", "one").status == 0
    assert sbx(*check, "--sandbox", "two").status == 1
    assert sbx(*check).status == 1
    assert sbx("rm", "-f", "one").status == 0
    assert need_policy(where).rules() == ()


@pytest.mark.parametrize(
    "words",
    [
        ["allow", "network", "--sandbox", "nosuch", "a.com"],
        ["deny", "network", "--sandbox", "nosuch", "a.com"],
        ["rm", "network", "--sandbox", "nosuch", "--resource", "a.com", "-f"],
        ["ls", "nosuch"],
        ["check", "network", "--sandbox", "nosuch", "a.com"],
        ["ls", "../../etc"],
    ],
)
def test_an_unknown_sandbox_is_an_error(sbx: Call, words: list[str]) -> None:
    done = sbx("policy", *words)
    assert done.status == 1
    assert "sandbox not found: " in done.err


def test_json_is_the_rule(sbx: Call) -> None:
    done = sbx("policy", "deny", "network", "--method", "post,PUT", "--path", "/v1/**", "a.com",
               "--json")  # fmt: skip
    row = cast("dict[str, object]", done.json())
    assert row["action"] == "added"
    assert row["decision"] == "deny"
    assert row["resource_type"] == "http"
    assert row["http_targets"] == [{"host": "a.com", "methods": ["POST", "PUT"], "path": "/v1/**"}]
    assert row["provenance"] == {"created_via": "added"}


@pytest.mark.parametrize(
    ("words", "protocols"),
    [
        (["allow", "network", "a.com"], ["tcp"]),
        (["deny", "network", "a.com"], ["tcp", "udp"]),
        (["allow", "network", "--protocol", "udp", "a.com"], ["udp"]),
        (["deny", "network", "--path", "/x", "a.com"], ["tcp"]),
    ],
)
def test_protocols(sbx: Call, words: list[str], protocols: list[str]) -> None:
    row = cast("dict[str, object]", sbx("policy", *words, "--json").json())
    assert row["protocols"] == protocols


def test_what_is_there_already(sbx: Call) -> None:
    sbx("policy", "allow", "network", "a.com")
    again = sbx("policy", "allow", "network", "a.com")
    assert again.status == 1
    assert "there is such a rule already: allow `a.com`" in again.err
    opposite = sbx("policy", "deny", "network", "a.com")
    assert opposite.status == 1
    assert "sbx policy rm network --id" in opposite.err
    part = sbx("policy", "allow", "network", "a.com,c.com")
    assert part.status == 0
    assert "(c.com)" in part.out
    assert "Note: already there, and not added again: a.com" in part.err


def test_an_allow_that_a_deny_beats_is_said(sbx: Call) -> None:
    sbx("policy", "deny", "network", "**.a.com")
    done = sbx("policy", "allow", "network", "x.a.com")
    assert done.status == 0
    assert "WARN: x.a.com:443 stays blocked: denied by rule deny-**.a.com" in done.err


def test_private_hosts(sbx: Call, where: Paths) -> None:
    sbx("policy", "allow", "network", "--private", "mirror.corp:443")
    (rule,) = need_policy(where).rules()
    assert rule.private


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["allow", "network", "*"], "a bare `*` is not accepted"),
        (["allow", "network", "::1"], "bracket"),
        (["allow", "network", "https://a.com/"], "not URLs"),
        (["allow", "network", "--method", "FETCH", "a.com"], "unknown HTTP method"),
        (["allow", "network", "--protocol", "icmp", "a.com"], "unknown protocol"),
        (["allow", "network", "--protocol", "udp", "--path", "/", "a.com"], "is tcp"),
        (["allow", "network"], "missing RESOURCE"),
        (["rm", "network"], "name the rule"),
        (["rm", "network", "--resource", "a.com", "-f"], 'no such rule: "a.com"'),
    ],
)
def test_refusals(sbx: Call, where: Paths, words: list[str], says: str) -> None:
    done = sbx("policy", *words)
    assert (done.status, done.out) == (1, "")
    assert says in done.err
    assert resources(where) == []


def test_removing_asks_first(sbx: Call, where: Paths) -> None:
    sbx("policy", "allow", "network", "a.com,b.com")
    done = sbx("policy", "rm", "network", "--resource", "a.com")
    assert done.status == 1
    assert "Run: sbx policy rm network --resource a.com -f" in done.err
    assert resources(where) == ["allow a.com", "allow b.com"]


def test_removing(sbx: Call, where: Paths) -> None:
    sbx("policy", "allow", "network", "a.com,b.com,c.com")
    (rule,) = need_policy(where).rules()
    done = sbx("policy", "rm", "network", "-f", "--id", rule.name, "--resource", "a.com")
    assert (done.status, done.out) == (0, f"Policy removed: {rule.id} (a.com)\n")
    assert resources(where) == ["allow b.com", "allow c.com"]
    rows = json.loads(sbx("policy", "rm", "network", "-f", "--id", rule.id, "--json").out)
    assert [(r["action"], r["resources"]) for r in rows] == [("removed", ["b.com", "c.com"])]
    assert resources(where) == []


def test_removing_without_questions_by_setting(sbx: Call, where: Paths) -> None:
    sbx("settings", "set", "cli.confirmRemove", "false")
    sbx("policy", "allow", "network", "a.com")
    assert sbx("policy", "rm", "network", "--resource", "a.com").status == 0
    assert resources(where) == []


def test_several_of_which_one_is_not_there_change_nothing(sbx: Call, where: Paths) -> None:
    sbx("policy", "allow", "network", "a.com")
    assert sbx("policy", "rm", "network", "-f", "--resource", "a.com,b.com").status == 1
    assert resources(where) == ["allow a.com"]


def test_hostile_text_is_shown_harmless(sbx: Call) -> None:
    done = sbx("policy", "allow", "network", "a\x1b[2Jb.com")
    assert done.status == 1
    assert "\x1b" not in done.err


def test_a_damaged_policy_is_said_and_not_overwritten(sbx: Call, where: Paths) -> None:
    (where.config / POLICY).write_text("{")
    done = sbx("policy", "allow", "network", "a.com")
    assert done.status == 1
    assert "cannot read the policy" in done.err
    assert (where.config / POLICY).read_text() == "{"
    assert sbx("policy", "reset", "-f").status == 0
    assert not (where.config / POLICY).exists()
