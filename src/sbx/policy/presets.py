# SPDX-License-Identifier: Apache-2.0
"""The three network postures that a user chooses from, and the rules that each starts with."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import assert_never

from sbx.policy.balanced import GROUPS, Group
from sbx.policy.hosts import Protocol
from sbx.policy.patterns import Form, Resource, parse_resource
from sbx.policy.rules import CreatedVia, Effect, Rule


class Preset(StrEnum):
    """A network posture, by the name that `policy init` takes."""

    ALLOW_ALL = "allow-all"
    BALANCED = "balanced"
    DENY_ALL = "deny-all"

    @property
    def posture(self) -> str:
        """The name that people are shown."""
        return {"allow-all": "Open", "balanced": "Balanced", "deny-all": "Locked Down"}[self.value]


@cache
def preset_rules(preset: Preset) -> tuple[Rule, ...]:
    """The rules of a posture. Locked Down has none: what no rule allows is denied."""
    match preset:
        case Preset.ALLOW_ALL:
            everything = Resource(form=Form.ANY, host="**")
            return (_rule("default-allow-all", (everything,), "everything with a public address"),)
        case Preset.BALANCED:
            return tuple(_group_rule(group) for group in GROUPS)
        case Preset.DENY_ALL:
            return ()
        case _:
            assert_never(preset)


def _group_rule(group: Group) -> Rule:
    texts = (f"{host}:{port}" for host in group.hosts.split() for port in group.ports)
    return _rule(f"default-{group.id}", tuple(map(parse_resource, texts)), group.why)


def _rule(name: str, resources: tuple[Resource, ...], note: str) -> Rule:
    return Rule(
        id=name,
        name=name,
        effect=Effect.ALLOW,
        resources=resources,
        protocols=frozenset({Protocol.TCP}),
        created_via=CreatedVia.DEFAULT,
        note=note,
    )
