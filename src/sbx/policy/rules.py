# SPDX-License-Identifier: Apache-2.0
"""Rules: who may reach what, or may not; and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from sbx.errors import UserError
from sbx.policy.hosts import Address, Protocol, shorten
from sbx.policy.paths import ANY_PATH, PathGlob, parse_glob
from sbx.policy.patterns import Resource

ANY_METHOD = "ANY"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")


class Effect(StrEnum):
    """What a rule does."""

    ALLOW = "allow"
    DENY = "deny"


class Origin(StrEnum):
    """Whose rule it is."""

    LOCAL = "local"  # the user's, or of the preset that the user chose
    KIT = "kit"
    ORG = "org"  # an organisation's; this version has no source of them


class CreatedVia(StrEnum):
    """How a rule came to be."""

    DEFAULT = "default"  # part of the preset
    ADDED = "added"  # by a command
    PROVISIONED = "provisioned"  # with a sandbox, from its kit
    APPROVAL = "approval"  # asked for, and the user said yes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMatch:
    """The requests that an HTTP rule is about."""

    methods: frozenset[str] = frozenset()  # empty: any
    path: PathGlob = ANY_PATH

    @property
    def method_text(self) -> str:
        return ",".join(m for m in METHODS if m in self.methods) or ANY_METHOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, as it is listed; it has one resource or more."""

    id: str
    name: str
    effect: Effect
    resources: tuple[Resource, ...]
    protocols: frozenset[Protocol]
    http: HttpMatch | None = None  # None: a rule about connections
    sandbox: str | None = None  # None: all sandboxes
    origin: Origin = Origin.LOCAL
    created_via: CreatedVia = CreatedVia.ADDED
    private: bool = False  # its hosts may be at private, shared and reserved addresses
    note: str = ""  # why it is there
    until_stop: bool = False  # of one sandbox; forgotten when that stops


class DenyKind(StrEnum):
    """Why something was denied."""

    DEFAULT = "default"  # no rule allows it
    RULE = "rule"  # a rule denies it
    ADDRESS = "address"  # an address that no rule names
    AMBIGUOUS = "ambiguous"  # it can be read in more than one way
    CANARY = "canary"  # the placeholder of a credential on its way to a wrong place
    UNINITIALIZED = "uninitialized"  # no policy has been chosen yet
    UNREADABLE = "unreadable"  # the policy cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict and what decided it."""

    allowed: bool
    reason: str  # for a person, without a full stop
    kind: DenyKind | None = None  # of a denial
    rule: Rule | None = None  # the rule that decided
    resource: Resource | None = None  # its pattern that matched
    address: Address | None = None  # that was refused
    inspect: bool = False  # allowed only while each request is read and decided by itself

    @property
    def origin(self) -> str:
        """Whose rule decided; `default` if none did."""
        return self.rule.origin.value if self.rule else "default"


def parse_methods(text: str) -> frozenset[str]:
    """A comma list of methods; `ANY` is the empty set.

    Raises:
        UserError: one is unknown.
    """
    words = {word.strip().upper() for word in text.split(",") if word.strip()}
    if unknown := sorted(words - {*METHODS, ANY_METHOD}):
        raise UserError(
            f'unknown HTTP method: "{shorten(unknown[0])}"',
            hint=f"Use {', '.join(METHODS)} or {ANY_METHOD}",
        )
    if not words:
        raise UserError("no HTTP method is named", hint=f"Use GET, or {ANY_METHOD} for all")
    return frozenset() if ANY_METHOD in words else frozenset(words)


def parse_http(methods: str | None, path: str | None) -> HttpMatch | None:
    """The requests of `--method` and `--path`; None if neither is given.

    Raises:
        UserError: one is malformed.
    """
    if methods is None and path is None:
        return None
    return HttpMatch(
        methods=parse_methods(methods) if methods is not None else frozenset(),
        path=parse_glob(path) if path is not None else ANY_PATH,
    )


def parse_protocols(
    text: str | None, effect: Effect, http: HttpMatch | None
) -> frozenset[Protocol]:
    """The protocols of a rule: a comma list, or what is usual for its effect.

    Raises:
        UserError: one is unknown, or HTTP is asked for over UDP.
    """
    if text is None:
        if http is not None:
            return frozenset({Protocol.TCP})
        match effect:
            case Effect.ALLOW:
                return frozenset({Protocol.TCP})
            case Effect.DENY:
                return frozenset(Protocol)
            case _:
                assert_never(effect)
    try:
        found = frozenset(Protocol(word.strip().lower()) for word in text.split(","))
    except ValueError as error:
        raise UserError(
            f'unknown protocol: "{shorten(text)}"', hint="Use tcp, udp or tcp,udp"
        ) from error
    if http is not None and Protocol.UDP in found:
        raise UserError("--method and --path are about HTTP, which is tcp")
    return found
