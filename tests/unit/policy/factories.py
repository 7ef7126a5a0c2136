# SPDX-License-Identifier: Apache-2.0
"""Rules and endpoints from short texts, for the tests of policies."""

from __future__ import annotations

from itertools import count

from sbx.policy.engine import Policy, compile_policy
from sbx.policy.hosts import Endpoint, HostName, Protocol, parse_endpoint, parse_host
from sbx.policy.patterns import parse_resources
from sbx.policy.rules import (
    CreatedVia,
    Effect,
    Origin,
    Rule,
    parse_http,
    parse_protocols,
)

_NUMBERS = count(1)


def rule(
    text: str,
    *,
    methods: str | None = None,
    path: str | None = None,
    sandbox: str | None = None,
    protocols: str | None = None,
    kit: bool = False,
    private: bool = False,
    created_via: CreatedVia | None = None,
) -> Rule:
    """`allow example.com,**.x:443` or `deny …`."""
    effect, _, resources = text.partition(" ")
    http = parse_http(methods, path)
    return Rule(
        id=f"r{next(_NUMBERS)}",
        name=text,
        effect=Effect(effect),
        resources=parse_resources(resources),
        protocols=parse_protocols(protocols, Effect(effect), http),
        http=http,
        sandbox=sandbox,
        origin=Origin.KIT if kit else Origin.LOCAL,
        created_via=created_via or (CreatedVia.PROVISIONED if kit else CreatedVia.ADDED),
        private=private,
    )


def policy(*rules: Rule | str, sandbox: str | None = None) -> Policy:
    return compile_policy([rule(r) if isinstance(r, str) else r for r in rules], sandbox=sandbox)


def to(text: str, protocol: Protocol = Protocol.TCP) -> Endpoint:
    return parse_endpoint(text, default_port=443, protocol=protocol)


def name(text: str) -> HostName:
    found = parse_host(text)
    assert isinstance(found, str)
    return found
