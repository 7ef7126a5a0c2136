# SPDX-License-Identifier: Apache-2.0
"""What kits allow and deny becomes rules of one sandbox, and Locked Down stays locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.kit.args import NO_ARGS
from sbx.kit.compose import Composition, compose
from sbx.lifecycle.kit_rules import apply_kit_rules, withheld_hosts
from sbx.policy.hosts import parse_endpoint
from sbx.policy.presets import Preset
from sbx.policy.rules import Effect, Origin
from sbx.store.paths import Paths, make_private
from sbx.store.rules import init_policy, need_policy, read_policy
from tests.kit.fake_supervisor import paths_below
from tests.unit.kit.kits import MIXIN, SANDBOX, kit

HOSTS = "permissions: {network: {allow: [own.test, 'book.test/docs/'], deny: [bad.test]}}\n"


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    where = paths_below(tmp_path)
    make_private(where)
    return where


def whole() -> Composition:
    extra = kit(MIXIN + "permissions: {network: {allow: ['**.extra.test:8443']}}\n")
    return compose(kit(SANDBOX + HOSTS), [extra], NO_ARGS)


def allowed(where: Paths, sandbox: str, target: str) -> bool:
    return need_policy(where).compile(sandbox).connection(parse_endpoint(target)).allowed


def test_they_count_for_that_sandbox_and_no_other(where: Paths) -> None:
    init_policy(where, Preset.BALANCED)
    apply_kit_rules(where, "one", whole(), agreed=False)
    assert allowed(where, "one", "own.test:443")
    assert allowed(where, "one", "a.extra.test:8443")
    assert not allowed(where, "one", "own.test:80")
    assert not allowed(where, "one", "a.extra.test:443")
    assert not allowed(where, "two", "own.test:443")
    rules = [rule for rule in need_policy(where).added if rule.origin is Origin.KIT]
    assert {rule.sandbox for rule in rules} == {"one"}
    assert [rule.name for rule in rules] == [
        "kit-own-allow-1", "kit-own-allow-2", "kit-own-deny-1", "kit-extra-allow-1",
    ]  # fmt: skip


def test_a_path_on_a_host_entry_is_about_requests(where: Paths) -> None:
    init_policy(where, Preset.BALANCED)
    apply_kit_rules(where, "one", whole(), agreed=False)
    decision = need_policy(where).compile("one").connection(parse_endpoint("book.test:443"))
    assert decision.allowed
    assert decision.inspect


def test_a_deny_beats_what_everybody_may(where: Paths) -> None:
    init_policy(where, Preset.ALLOW_ALL)
    apply_kit_rules(where, "one", whole(), agreed=False)
    assert not allowed(where, "one", "bad.test:443")
    assert allowed(where, "two", "bad.test:443")


def test_locked_down_allows_nothing_until_the_user_says_so(where: Paths) -> None:
    init_policy(where, Preset.DENY_ALL)
    assert withheld_hosts(where, whole()) == ("own.test", "book.test/docs/", "**.extra.test:8443")
    apply_kit_rules(where, "one", whole(), agreed=False)
    assert not allowed(where, "one", "own.test:443")
    rules = need_policy(where)
    assert [rule.effect for rule in rules.added if rules.is_active(rule)] == [Effect.DENY]
    apply_kit_rules(where, "one", whole(), agreed=True)
    assert allowed(where, "one", "own.test:443")


def test_other_postures_withhold_nothing(where: Paths) -> None:
    assert withheld_hosts(where, whole()) == ()
    init_policy(where, Preset.BALANCED)
    assert withheld_hosts(where, whole()) == ()


def test_the_rules_of_kits_are_replaced_and_the_user_s_own_stay(where: Paths) -> None:
    init_policy(where, Preset.BALANCED)
    for _ in range(2):
        apply_kit_rules(where, "one", whole(), agreed=False)
    assert len(need_policy(where).added) == 4
    apply_kit_rules(where, "one", compose(kit(SANDBOX), (), NO_ARGS), agreed=False)
    assert need_policy(where).added == ()


def test_without_a_posture_nothing_is_written(where: Paths) -> None:
    apply_kit_rules(where, "one", whole(), agreed=True)
    assert read_policy(where) is None
