# SPDX-License-Identifier: Apache-2.0
"""All rules of an installation: a posture, what the user took out of it, and what was added.

Pure: each change makes a new value, or is refused with a sentence. Storing it is `store.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.policy.engine import Policy, compile_policy
from sbx.policy.hosts import shorten
from sbx.policy.patterns import Resource
from sbx.policy.presets import Preset, preset_rules
from sbx.policy.rules import CreatedVia, Effect, HttpMatch, Origin, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A part of the posture that the user took out."""

    rule: str  # id
    resource: str | None = None  # canonical text; None: the whole rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which rules `policy rm` is about: one by its id or name, or those with a resource."""

    id: str | None = None
    resource: Resource | None = None
    sandbox: str | None = None  # None: those for all sandboxes
    http: HttpMatch | None = None  # only HTTP rules with just these methods and this path


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules of an installation."""

    preset: Preset
    removed: tuple[Removed, ...] = ()
    added: tuple[Rule, ...] = ()

    def rules(self) -> tuple[Rule, ...]:
        """Every rule there is, those of the posture first."""
        kept = (self._without_removed(rule) for rule in preset_rules(self.preset))
        return (*(rule for rule in kept if rule.resources), *self.added)

    def is_active(self, rule: Rule) -> bool:
        """Whether a rule counts: Locked Down takes allows of a kit only if the user said yes."""
        return not (
            self.preset is Preset.DENY_ALL
            and rule.origin is Origin.KIT
            and rule.effect is Effect.ALLOW
            and rule.created_via is CreatedVia.PROVISIONED
        )

    def compile(self, sandbox: str | None = None) -> Policy:
        """The policy of a sandbox, or of none in particular."""
        return compile_policy(filter(self.is_active, self.rules()), sandbox=sandbox)

    def _without_removed(self, rule: Rule) -> Rule:
        gone = [removed.resource for removed in self.removed if removed.rule == rule.id]
        if None in gone:
            return replace(rule, resources=())
        if not gone:
            return rule
        texts = set(gone)
        return replace(rule, resources=tuple(r for r in rule.resources if str(r) not in texts))


def add(rules: RuleSet, rule: Rule) -> tuple[RuleSet, Rule]:
    """Add a rule; resources that an equal rule has already are left out.

    Raises:
        ConflictError: all of it is there already, or the opposite of a part is.
    """
    present: list[Resource] = []
    for other in rules.rules():
        if (other.sandbox, other.http) != (rule.sandbox, rule.http) or not is_editable(other):
            continue  # what a kit says is no obstacle to what the user says
        shared = [r for r in rule.resources if r in other.resources]
        if shared and other.effect is not rule.effect and other.protocols & rule.protocols:
            raise ConflictError(
                f"there is an equal {other.effect} rule already: `{shared[0]}`",
                hint=f"A deny beats an allow. First run: {remove_command(other, shared[0])}",
            )
        if other.effect is rule.effect and other.protocols >= rule.protocols:
            present += shared if other.private or not rule.private else ()
    new = tuple(resource for resource in rule.resources if resource not in present)
    if not new:
        raise ConflictError(
            f"there is such a rule already: {rule.effect} `{', '.join(map(str, present))}`",
            hint="Run: sbx policy ls --wide",
        )
    added = replace(rule, resources=new)
    return replace(rules, added=(*rules.added, added)), added


def remove(rules: RuleSet, wanted: Selector) -> tuple[RuleSet, tuple[Rule, ...]]:
    """Remove rules, or one resource of them; returns what was removed.

    Raises:
        NotFoundError: nothing fits.
        UserError: it belongs to a kit.
    """
    gone = tuple(found for rule in rules.rules() if (found := _selected(rule, wanted)))
    if not gone:
        what = wanted.id if wanted.resource is None else str(wanted.resource)
        raise NotFoundError(
            f'no such rule: "{shorten(what or "")}"', hint="Run: sbx policy ls --wide"
        )
    for rule in gone:
        if not is_editable(rule):
            raise UserError(
                f"rule belongs to the kit of sandbox `{rule.sandbox}`: {rule.name}",
                hint="Deny the host instead, or make the sandbox without that kit",
            )
    return _without(rules, gone), gone


def replace_kit_rules(rules: RuleSet, sandbox: str, kit: Iterable[Rule]) -> RuleSet:
    """Put the rules of a sandbox's kits in place of those that it had."""
    kept = (r for r in rules.added if r.origin is not Origin.KIT or r.sandbox != sandbox)
    return replace(rules, added=(*kept, *kit))


def drop_sandbox(rules: RuleSet, sandbox: str) -> RuleSet:
    """Forget the rules of a sandbox that is gone."""
    return replace(rules, added=tuple(r for r in rules.added if r.sandbox != sandbox))


def drop_session(rules: RuleSet, sandbox: str) -> RuleSet:
    """Forget the rules that a sandbox had until it stopped."""
    kept = (r for r in rules.added if not (r.until_stop and r.sandbox == sandbox))
    return replace(rules, added=tuple(kept))


def unused_name(rules: RuleSet, effect: Effect, resources: tuple[Resource, ...]) -> str:
    """A name for a new rule, after its first resource, that no other rule has."""
    wanted = f"{effect}-{resources[0]}"
    taken = {name for rule in rules.rules() for name in (rule.id, rule.name)}
    if wanted not in taken:
        return wanted
    return next(name for n in count(2) if (name := f"{wanted}#{n}") not in taken)


def is_editable(rule: Rule) -> bool:
    """Whether the user may remove it."""
    return rule.origin is Origin.LOCAL


def remove_command(rule: Rule, resource: Resource) -> str:
    """The command that removes one resource of a rule."""
    scope = f" --sandbox {rule.sandbox}" if rule.sandbox else ""
    return f"sbx policy rm network{scope} --id {rule.id} --resource '{resource}'"


def _selected(rule: Rule, wanted: Selector) -> Rule | None:
    """The part of a rule that is to be removed."""
    if wanted.id is not None:
        if wanted.id not in (rule.id, rule.name):
            return None
    elif rule.sandbox != wanted.sandbox:
        return None
    if wanted.http is not None and rule.http != wanted.http:
        return None
    if wanted.resource is None:
        return rule
    return (
        replace(rule, resources=(wanted.resource,)) if wanted.resource in rule.resources else None
    )


def _without(rules: RuleSet, gone: tuple[Rule, ...]) -> RuleSet:
    by_id: dict[str, set[Resource]] = {}
    for rule in gone:
        by_id.setdefault(rule.id, set()).update(rule.resources)
    removed = list(rules.removed)
    for rule in preset_rules(rules.preset):
        out = by_id.get(rule.id, set())
        removed += [Removed(rule=rule.id, resource=str(r)) for r in rule.resources if r in out]
    kept = (
        replace(rule, resources=tuple(r for r in rule.resources if r not in by_id[rule.id]))
        if rule.id in by_id
        else rule
        for rule in rules.added
    )
    return replace(rules, removed=tuple(removed), added=tuple(r for r in kept if r.resources))
