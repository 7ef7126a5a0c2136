# SPDX-License-Identifier: Apache-2.0
"""What is denied to a sandbox from its beginning."""

from __future__ import annotations

import uuid

from sbx.lifecycle.request import CreateRequest
from sbx.policy.hosts import Protocol
from sbx.policy.rules import Effect, Rule
from sbx.policy.ruleset import RuleSet, add, unused_name
from sbx.store.paths import Paths
from sbx.store.rules import change_policy


def add_denials(where: Paths, request: CreateRequest) -> None:
    """Store what the sandbox shall not reach, whatever is allowed.

    Raises:
        UserError: no network posture was chosen.
    """

    def change(rules: RuleSet) -> tuple[RuleSet, Rule]:
        resources = request.deny_network
        rule = Rule(
            id=str(uuid.uuid4()),
            name=unused_name(rules, Effect.DENY, resources),
            effect=Effect.DENY,
            resources=resources,
            protocols=frozenset(Protocol),
            sandbox=request.name,
        )
        return add(rules, rule)

    change_policy(where, change)
