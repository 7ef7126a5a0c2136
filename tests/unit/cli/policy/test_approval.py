# SPDX-License-Identifier: Apache-2.0
"""`sbx policy approval`: what sandboxes ask for, and what the answers do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sbx.policy.rules import CreatedVia
from sbx.store import paths as names
from sbx.store.approvals import Pending, ask, pending
from sbx.store.paths import Paths
from sbx.store.rules import forget_session, need_policy
from sbx.system.files import owned_fd
from sbx.system.locks import try_lock
from tests.unit.cli.conftest import Call, MakeSandbox


@pytest.fixture(name="one")
def _one(sbx: Call, where: Paths, make_sandbox: MakeSandbox) -> Pending:
    make_sandbox("one")
    make_sandbox("two")
    sbx("policy", "init", "deny-all")
    asked = ask(where, "one", "a.com", 443)
    assert asked is not None
    return asked


@pytest.fixture(name="running")
def _running(one: Pending, where: Paths) -> Iterator[None]:
    lock = try_lock(where.sandbox(one.sandbox) / names.SUPERVISOR_LOCK)
    assert lock is not None
    with owned_fd(lock):
        yield


def allowed(sbx: Call, sandbox: str) -> bool:
    return sbx("policy", "check", "network", "a.com:443", "--sandbox", sandbox).status == 0


def test_nothing_is_pending(sbx: Call) -> None:
    done = sbx("policy", "approval", "ls")
    assert (done.status, done.out) == (0, "No approvals are pending.\n")
    assert "sbx settings set policy.approvals true" in done.err
    assert sbx("policy", "approval", "ls", "--json").out == "[]\n"


def test_listing(sbx: Call, one: Pending) -> None:
    header, line = sbx("policy", "approval", "ls").out.splitlines()
    assert header.split() == ["ID", "SANDBOX", "RESOURCE", "PROTOCOL", "ASKED"]
    assert line.split()[:4] == [one.id, "one", "a.com:443", "tcp"]
    (row,) = json.loads(sbx("policy", "approval", "ls", "--json").out)
    assert (row["id"], row["resource"], row["status"]) == (one.id, "a.com:443", "pending")
    assert sbx("policy", "approval", "ls", "two", "--json").out == "[]\n"
    assert sbx("policy", "approval", "ls", "nosuch").status == 1


def test_inspecting(sbx: Call, one: Pending) -> None:
    assert json.loads(sbx("policy", "approval", "inspect", one.id, "--json").out)["host"] == "a.com"
    assert "resource  a.com:443\n" in sbx("policy", "approval", "inspect", one.id[:3]).out
    assert 'no such approval: "zz"' in sbx("policy", "approval", "inspect", "zz").err


@pytest.mark.parametrize(("scope", "both"), [("sandbox", False), ("global", True)])
def test_allowing(sbx: Call, one: Pending, where: Paths, scope: str, both: bool) -> None:
    done = sbx("policy", "approval", "respond", one.id, "allow", "--scope", scope)
    assert done.status == 0
    assert done.out.startswith("Allowed a.com:443 for ")
    assert (allowed(sbx, "one"), allowed(sbx, "two")) == (True, both)
    (rule,) = need_policy(where).rules()
    assert rule.created_via is CreatedVia.APPROVAL
    assert pending(where) == []


def test_once_is_until_the_sandbox_stops(
    sbx: Call, one: Pending, running: None, where: Paths
) -> None:
    done = sbx("policy", "approval", "respond", one.id, "allow", "--scope", "once", "--json")
    assert json.loads(done.out)["status"] == "allowed"
    assert (allowed(sbx, "one"), allowed(sbx, "two")) == (True, False)
    (row,) = json.loads(sbx("policy", "ls", "--json").out)["rules"]
    assert row["until_stop"] is True
    forget_session(where, "two")
    assert allowed(sbx, "one")
    forget_session(where, "one")
    assert not allowed(sbx, "one")


def test_once_needs_a_running_sandbox(sbx: Call, one: Pending, where: Paths) -> None:
    done = sbx("policy", "approval", "respond", one.id, "allow", "--scope", "once")
    assert done.status == 1
    assert "is not running" in done.err
    assert pending(where) == [one]


def test_denying_ends_the_question(sbx: Call, one: Pending, where: Paths) -> None:
    done = sbx("policy", "approval", "respond", one.id, "deny")
    assert (done.status, done.out) == (0, "Denied a.com:443 for sandbox one\n")
    assert not allowed(sbx, "one")
    assert "denied by rule" in sbx("policy", "check", "network", "a.com", "--sandbox", "one").out
    assert sbx("policy", "approval", "ls", "--json").out == "[]\n"


def test_what_a_rule_decides_meanwhile_is_no_question(
    sbx: Call, one: Pending, where: Paths
) -> None:
    sbx("policy", "allow", "network", "a.com:443")
    assert sbx("policy", "approval", "ls", "--json").out == "[]\n"
    assert pending(where) == []


def test_a_name_that_was_only_looked_up(sbx: Call, one: Pending, where: Paths) -> None:
    del one
    asked = ask(where, "two", "b.com", None)
    assert asked is not None
    sbx("policy", "approval", "respond", asked.id, "allow")
    assert sbx("policy", "check", "network", "b.com:22", "--sandbox", "two").status == 0


def test_questions_go_with_the_sandbox(sbx: Call, one: Pending, where: Paths) -> None:
    assert sbx("rm", "-f", one.sandbox).status == 0
    assert pending(where) == []


@pytest.mark.parametrize("words", [["allow"], ["maybe"], ["allow", "--scope", "ever"]])
def test_refusals(sbx: Call, words: list[str]) -> None:
    assert sbx("policy", "approval", "respond", "nosuch", *words).status == 1
