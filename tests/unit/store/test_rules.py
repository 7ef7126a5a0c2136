# SPDX-License-Identifier: Apache-2.0
"""The policy file: strict, versioned, and closed when it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import ConflictError, PermanentError, UserError
from sbx.policy.patterns import parse_resource
from sbx.policy.presets import Preset
from sbx.policy.rules import DenyKind
from sbx.policy.ruleset import RuleSet, Selector, add, remove
from sbx.store import rules
from sbx.store.paths import POLICY, Paths, make_private
from tests.unit.policy.factories import rule, to

RULES = (
    rule("allow a.com:443,**.b.com,[fd00::/8]:22,10.0.0.0/8", private=True),
    rule("deny c*.com", methods="POST,GET", path="/a/**", sandbox="s"),
    rule("allow d.com", sandbox="s", kit=True, protocols="udp"),
)


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    where = Paths(
        state=tmp_path / "s", config=tmp_path / "c", cache=tmp_path / "k", runtime=tmp_path / "r"
    )
    make_private(where)
    return where


def write(where: Paths, data: bytes | str) -> None:
    """Replace the file by another one, as an editor does."""
    new = where.config / "new"
    new.write_bytes(data.encode() if isinstance(data, str) else data)
    new.replace(where.config / POLICY)


def document(where: Paths) -> dict[str, object]:
    found: dict[str, object] = json.loads((where.config / POLICY).read_bytes())
    return found


def test_before_a_posture_is_chosen(where: Paths) -> None:
    assert rules.read_policy(where) is None
    with pytest.raises(UserError, match="global network policy has not been initialized") as caught:
        rules.need_policy(where)
    assert "sbx policy init" in (caught.value.hint or "")
    with pytest.raises(UserError, match="has not been initialized"):
        rules.change_policy(where, lambda found: add(found, rule("allow a.com")))


def test_a_posture_is_chosen_once(where: Paths) -> None:
    rules.init_policy(where, Preset.BALANCED)
    with pytest.raises(ConflictError, match="already set") as caught:
        rules.init_policy(where, Preset.ALLOW_ALL)
    assert "sbx policy reset" in (caught.value.hint or "")
    assert rules.need_policy(where) == RuleSet(preset=Preset.BALANCED)


def test_rules_survive_the_round_trip(where: Paths) -> None:
    rules.init_policy(where, Preset.DENY_ALL, RULES)
    assert rules.need_policy(where).added == RULES
    assert (where.config / POLICY).stat().st_mode & 0o077 == 0


def test_changes(where: Paths) -> None:
    rules.init_policy(where, Preset.BALANCED)
    added = rules.change_policy(where, lambda found: add(found, rule("allow a.com")))
    assert rules.need_policy(where).added == (added,)
    github = Selector(resource=parse_resource("**.github.com:443"))
    rules.change_policy(where, lambda found: remove(found, github))
    assert not rules.need_policy(where).compile().connection(to("github.com")).allowed
    with pytest.raises(ConflictError):
        rules.change_policy(where, lambda found: add(found, rule("allow a.com")))
    assert rules.need_policy(where).added == (added,)


def test_reset(where: Paths) -> None:
    assert not rules.delete_policy(where)
    write(where, "{")
    assert rules.delete_policy(where)
    assert rules.read_policy(where) is None


def with_rule(**changes: object) -> dict[str, object]:
    good = {"id": "x", "name": "x", "effect": "allow", "resources": ["a.com"], "protocols": ["tcp"]}
    return {"version": 1, "preset": "deny-all", "rules": [{**good, **changes}]}


BAD: list[bytes | dict[str, object]] = [
    b"",
    b"{",
    b"\xff",
    b"[]",
    b"null",
    b"[" * 100_000,
    {"preset": "balanced"},
    {"version": 2, "preset": "balanced"},
    {"version": "1", "preset": "balanced"},
    {"version": 1},
    {"version": 1, "preset": "open"},
    {"version": 1, "preset": "balanced", "rulez": []},
    {"version": 1, "preset": "balanced", "rules": {}},
    with_rule(effect="permit"),
    with_rule(resources=[]),
    with_rule(resources=["*"]),
    with_rule(resources=["127.1"]),
    with_rule(resources=[1]),
    with_rule(protocols=[]),
    with_rule(protocols=["icmp"]),
    with_rule(id=""),
    with_rule(http={"methods": ["FETCH"], "path": "/"}),
    with_rule(http={"methods": [], "path": "x"}),
    with_rule(http={"methods": []}),
    with_rule(http={"methods": [], "path": "/"}, protocols=["udp"]),
    with_rule(extra=1),
    with_rule(private=1),
]


def test_two_rules_with_one_id_are_refused(where: Paths) -> None:
    rules.init_policy(where, Preset.DENY_ALL, RULES[:1])
    found = document(where)
    write(where, json.dumps({**found, "rules": [*cast("list[object]", found["rules"])] * 2}))
    with pytest.raises(PermanentError, match="same id"):
        rules.read_policy(where)


@pytest.mark.parametrize("data", BAD)
def test_a_file_that_is_not_understood_is_refused_and_kept(
    where: Paths, data: bytes | dict[str, object]
) -> None:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    write(where, text)
    for use in (
        lambda: rules.read_policy(where),
        lambda: rules.init_policy(where, Preset.ALLOW_ALL),
        lambda: rules.change_policy(where, lambda found: add(found, rule("allow a.com"))),
    ):
        with pytest.raises(PermanentError, match="cannot read the policy"):
            use()
    assert (where.config / POLICY).read_bytes() == text


def test_the_good_rule_of_these_cases_is_good(where: Paths) -> None:
    write(where, json.dumps(with_rule()))
    assert rules.need_policy(where).compile().connection(to("a.com")).allowed


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,version1preset', max_size=60))
def test_no_garbage_is_a_policy(
    tmp_path_factory: pytest.TempPathFactory, data: bytes | str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "garbage"
    where = Paths(state=folder, config=folder, cache=folder, runtime=folder)
    folder.mkdir(exist_ok=True)
    write(where, data)
    with pytest.raises(PermanentError):
        rules.read_policy(where)


# What a running supervisor makes of it


def test_a_source_follows_the_file(where: Paths) -> None:
    source = rules.PolicySource(where, "s")
    assert source.policy.connection(to("a.com")).kind is DenyKind.UNREADABLE
    assert source.refresh()
    assert source.policy.connection(to("a.com")).kind is DenyKind.UNINITIALIZED
    rules.init_policy(where, Preset.DENY_ALL, (rule("allow a.com", sandbox="s"),))
    assert source.refresh()
    assert source.policy.connection(to("a.com")).allowed
    before = source.policy
    assert not source.refresh()
    assert source.policy is before
    rules.delete_policy(where)
    assert source.refresh()
    assert source.policy.connection(to("a.com")).kind is DenyKind.UNINITIALIZED


def test_a_source_keeps_the_last_good_policy(where: Paths) -> None:
    rules.init_policy(where, Preset.DENY_ALL, (rule("allow a.com"),))
    good = (where.config / POLICY).read_bytes()
    source = rules.PolicySource(where, "s")
    source.refresh()
    write(where, "{")
    assert not source.refresh()
    assert source.problem is not None
    assert source.policy.connection(to("a.com")).allowed
    assert not source.policy.connection(to("b.com")).allowed
    write(where, good)
    assert source.refresh()
    assert source.problem is None


def test_a_source_without_a_good_policy_denies_all(where: Paths) -> None:
    write(where, '{"version": 1, "preset": "allow-all", "x": 1}')
    source = rules.PolicySource(where, "s")
    assert source.refresh()
    decision = source.policy.connection(to("a.com"))
    assert decision.kind is DenyKind.UNREADABLE
    assert "cannot read the policy" in decision.reason


def test_a_reset_is_not_forgotten_by_a_damaged_file(where: Paths) -> None:
    rules.init_policy(where, Preset.ALLOW_ALL)
    source = rules.PolicySource(where, "s")
    source.refresh()
    rules.delete_policy(where)
    source.refresh()
    write(where, "{")
    assert source.refresh()
    assert source.policy.connection(to("a.com")).kind is DenyKind.UNREADABLE


def test_a_passing_failure_is_tried_again(where: Paths) -> None:
    rules.init_policy(where, Preset.ALLOW_ALL)
    path = where.config / POLICY
    data = path.read_bytes()
    path.unlink()
    path.mkdir()  # cannot be read as a file, whoever asks
    source = rules.PolicySource(where, "s")
    assert source.refresh()
    assert source.policy.connection(to("a.com")).kind is DenyKind.UNREADABLE
    assert source.refresh(), "it is looked at again, although nothing changed"
    path.rmdir()
    write(where, data)
    assert source.refresh()
    assert source.policy.connection(to("a.com")).allowed


def test_the_stored_form_is_stable(where: Paths) -> None:
    """A change here needs a new version and a way to read the old one."""
    rules.init_policy(where, Preset.DENY_ALL, (RULES[1],))
    assert document(where) == {
        "version": 1,
        "preset": "deny-all",
        "removed": [],
        "rules": [
            {
                "id": RULES[1].id,
                "name": "deny c*.com",
                "effect": "deny",
                "resources": ["c*.com"],
                "protocols": ["tcp"],
                "http": {"methods": ["GET", "POST"], "path": "/a/**"},
                "sandbox": "s",
                "origin": "local",
                "created_via": "added",
                "private": False,
                "note": "",
                "until_stop": False,
            }
        ],
    }
