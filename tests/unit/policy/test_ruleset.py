# SPDX-License-Identifier: Apache-2.0
"""Changes of the rules: what is added, refused, removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.policy.patterns import parse_resource
from sbx.policy.presets import Preset
from sbx.policy.rules import CreatedVia, Effect, Rule
from sbx.policy.ruleset import (
    RuleSet,
    Selector,
    add,
    drop_sandbox,
    remove,
    replace_kit_rules,
    unused_name,
)
from tests.unit.policy.factories import rule, to

EMPTY = RuleSet(preset=Preset.DENY_ALL)
BALANCED = RuleSet(preset=Preset.BALANCED)


def with_rules(*found: Rule, preset: Preset = Preset.DENY_ALL) -> RuleSet:
    return RuleSet(preset=preset, added=found)


def texts(rules: RuleSet) -> list[str]:
    return [f"{r.effect} {resource}" for r in rules.rules() for resource in r.resources]


def test_adding() -> None:
    rules, added = add(EMPTY, rule("allow a.com,b.com:443"))
    assert texts(rules) == ["allow a.com", "allow b.com:443"]
    assert rules.compile().connection(to("a.com")).allowed
    assert rules.added == (added,)


def test_what_is_there_already_is_left_out_or_refused() -> None:
    rules = with_rules(rule("allow a.com"))
    rules, added = add(rules, rule("allow a.com,b.com"))
    assert [str(resource) for resource in added.resources] == ["b.com"]
    with pytest.raises(
        ConflictError, match=r"there is such a rule already: allow `a\.com, b\.com`"
    ):
        add(rules, rule("allow a.com,b.com"))
    with pytest.raises(ConflictError):
        add(BALANCED, rule("allow **.github.com:443"))


@pytest.mark.parametrize(
    "other",
    [
        rule("allow a.com:443"),
        rule("allow a.com", sandbox="s"),
        rule("allow a.com", methods="GET"),
        rule("allow a.com", path="/x"),
        rule("allow a.com", protocols="udp"),
        rule("allow a.com", private=True),
        rule("deny a.com", sandbox="s"),
        rule("deny a.com", methods="GET"),
    ],
)
def test_a_rule_that_differs_is_added(other: Rule) -> None:
    rules, added = add(with_rules(rule("allow a.com")), other)
    assert added == other
    assert len(rules.added) == 2


@pytest.mark.parametrize("effects", ["allow deny", "deny allow"])
def test_the_opposite_of_an_equal_rule_is_refused(effects: str) -> None:
    old, new = effects.split()
    rules = with_rules(rule(f"{old} a.com", sandbox="s"))
    with pytest.raises(ConflictError, match=f"equal {old} rule") as caught:
        add(rules, rule(f"{new} a.com", sandbox="s"))
    assert caught.value.hint is not None
    assert "sbx policy rm network --sandbox s --id" in caught.value.hint


def test_what_a_kit_says_is_no_obstacle() -> None:
    rules = with_rules(rule("allow a.com", sandbox="s", kit=True), preset=Preset.BALANCED)
    assert rules.compile("s").connection(to("a.com")).allowed
    rules, _ = add(rules, rule("deny a.com", sandbox="s"))
    assert not rules.compile("s").connection(to("a.com")).allowed


def test_removing_by_id_name_and_resource() -> None:
    rules = with_rules(
        rule("allow a.com,b.com"), rule("deny b.com"), rule("allow b.com", sandbox="s")
    )
    first = rules.added[0]
    assert texts(remove(rules, Selector(id=first.id))[0]) == ["deny b.com", "allow b.com"]
    assert texts(remove(rules, Selector(id="deny b.com"))[0])[-1] == "allow b.com"
    left, gone = remove(rules, Selector(resource=parse_resource("B.com")))
    assert texts(left) == ["allow a.com", "allow b.com"]
    assert [str(r) for one in gone for r in one.resources] == ["b.com", "b.com"]
    left, _ = remove(rules, Selector(resource=parse_resource("b.com"), sandbox="s"))
    assert texts(left) == ["allow a.com", "allow b.com", "deny b.com"]
    left, _ = remove(rules, Selector(id=first.id, resource=parse_resource("a.com")))
    assert texts(left) == ["allow b.com", "deny b.com", "allow b.com"]


def test_removing_http_rules_by_method_and_path() -> None:
    get = rule("allow a.com", methods="GET")
    rules = with_rules(rule("allow a.com"), get)
    left, gone = remove(rules, Selector(resource=parse_resource("a.com"), http=get.http))
    assert [one.id for one in gone] == [get.id]
    assert len(left.added) == 1


def test_removing_what_is_not_there() -> None:
    for wanted in (Selector(id="x\x1b"), Selector(resource=parse_resource("x.com"))):
        with pytest.raises(NotFoundError, match="no such rule") as caught:
            remove(EMPTY, wanted)
        assert caught.value.message.isprintable()


def test_a_part_of_the_posture_can_be_removed() -> None:
    rules, _ = remove(BALANCED, Selector(resource=parse_resource("**.github.com:443")))
    assert not rules.compile().connection(to("github.com")).allowed
    assert rules.compile().connection(to("gitlab.com")).allowed
    rules, _ = remove(rules, Selector(id="default-source-code"))
    assert not rules.compile().connection(to("gitlab.com")).allowed
    assert "default-source-code" not in {r.id for r in rules.rules()}
    with pytest.raises(NotFoundError):
        remove(rules, Selector(id="default-source-code"))


def test_rules_of_a_kit_cannot_be_removed() -> None:
    rules = with_rules(rule("allow a.com", sandbox="s", kit=True))
    with pytest.raises(UserError, match="kit of sandbox `s`"):
        remove(rules, Selector(id=rules.added[0].id))


def test_locked_down_takes_a_kits_allows_only_if_the_user_said_so() -> None:
    """docs/policy.md: nothing but what the user allowed; its denies count at once."""
    kit = rule("allow a.com,b.com", sandbox="s", kit=True)
    deny = rule("deny b.com", sandbox="s", kit=True)
    rules = with_rules(kit, deny, rule("allow b.com"))
    assert not rules.is_active(kit)
    assert not rules.compile("s").connection(to("a.com")).allowed
    assert not rules.compile("s").connection(to("b.com")).allowed
    approved = rule("allow a.com", sandbox="s", kit=True, created_via=CreatedVia.APPROVAL)
    assert with_rules(approved).compile("s").connection(to("a.com")).allowed
    assert with_rules(kit, preset=Preset.BALANCED).is_active(kit)
    own = rule("allow a.com", sandbox="s", created_via=CreatedVia.PROVISIONED)
    assert with_rules(own).is_active(own)


def test_kit_rules_are_replaced_and_a_sandbox_takes_its_rules_along() -> None:
    own = rule("deny z.com", sandbox="s")
    rules = with_rules(rule("allow a.com", sandbox="s", kit=True), own, rule("allow x.com"))
    rules = replace_kit_rules(rules, "s", [rule("allow b.com", sandbox="s", kit=True)])
    assert texts(rules) == ["deny z.com", "allow x.com", "allow b.com"]
    assert texts(drop_sandbox(rules, "s")) == ["allow x.com"]


def test_a_name_that_no_other_rule_has() -> None:
    rules = EMPTY
    for expected in ("allow-a.com", "allow-a.com#2", "allow-a.com#3"):
        name = unused_name(rules, Effect.ALLOW, (parse_resource("a.com"),))
        assert name == expected
        rules = with_rules(*rules.added, replace(rule("deny b.com"), name=name))
