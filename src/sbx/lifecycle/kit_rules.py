# SPDX-License-Identifier: Apache-2.0
"""The hosts that kits name, as rules of one sandbox in the policy.

Locked Down means locked down: there, what kits allow counts only if the user said so (the policy
sees to that, `RuleSet.is_active`); what they deny always counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from sbx.kit.compose import Composition, Kit
from sbx.policy.hosts import Protocol
from sbx.policy.paths import parse_glob
from sbx.policy.patterns import parse_kit_entry
from sbx.policy.presets import Preset
from sbx.policy.rules import CreatedVia, Effect, HttpMatch, Origin, Rule
from sbx.policy.ruleset import RuleSet, replace_kit_rules
from sbx.store.paths import Paths
from sbx.store.rules import change_policy, read_policy


def kit_rules(whole: Composition, sandbox: str, *, agreed: bool) -> tuple[Rule, ...]:
    """The rules of a composition; `agreed`: the user was asked, and said yes to what they allow."""
    via = CreatedVia.APPROVAL if agreed else CreatedVia.PROVISIONED
    return tuple(rule for kit in whole.kits for rule in _rules(kit, sandbox, via))


def withheld_hosts(where: Paths, whole: Composition) -> tuple[str, ...]:
    """The hosts that kits want and that the posture keeps from them until the user says so."""
    rules = read_policy(where)
    return whole.allow if rules is not None and rules.preset is Preset.DENY_ALL else ()


def apply_kit_rules(where: Paths, sandbox: str, whole: Composition, *, agreed: bool) -> None:
    """Store the rules of a sandbox's kits; without a posture there is nothing to add to.

    Raises:
        PermanentError: the policy cannot be read.
        HostError: it cannot be written.
    """
    if read_policy(where) is None:
        return

    def change(rules: RuleSet) -> tuple[RuleSet, None]:
        return replace_kit_rules(rules, sandbox, kit_rules(whole, sandbox, agreed=agreed)), None

    change_policy(where, change)


def _rules(kit: Kit, sandbox: str, via: CreatedVia) -> Iterator[Rule]:
    pairs = ((Effect.ALLOW, kit.spec.allow), (Effect.DENY, kit.spec.deny))
    for effect, entries in pairs:
        for number, entry in enumerate(entries, 1):
            resource, path = parse_kit_entry(entry)
            name = f"kit-{kit.spec.name}-{effect}-{number}"
            yield Rule(
                id=f"{sandbox}/{name}",
                name=name,
                effect=effect,
                resources=(resource,),
                protocols=frozenset({Protocol.TCP}),
                http=HttpMatch(path=parse_glob(path)) if path is not None else None,
                sandbox=sandbox,
                origin=Origin.KIT,
                created_via=via,
                note=f"kit {kit.spec.name} names {entry}",
            )
