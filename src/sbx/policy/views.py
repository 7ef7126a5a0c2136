# SPDX-License-Identifier: Apache-2.0
"""What people and scripts are shown of rules and decisions: rows, JSON documents, sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from sbx.policy.addresses import Kind, classify
from sbx.policy.hosts import Endpoint, show_host
from sbx.policy.rules import CreatedVia, Decision, DenyKind, Effect, Origin, Rule
from sbx.policy.ruleset import RuleSet, is_editable, remove_command

LOCAL_POLICY = "local-policy"
# The reader is often an agent: what it needs to know is that trying on is of no use.
_ADVICE = (
    "This works on the host only, and there is no other way out. An agent should tell the user\n"
    "this command, or go on without it; once it is allowed, the same request works at once."
)
# Whoever wants the rest of the special addresses has to know what they are.
_NAMEABLE = (Kind.PRIVATE, Kind.SHARED, Kind.RESERVED, Kind.LOOPBACK)


class Provenance(TypedDict):
    """How a rule came to be."""

    created_via: str


class HttpTarget(TypedDict):
    """The requests that an HTTP rule is about."""

    host: str
    methods: list[str]
    path: str


class RuleRow(TypedDict):
    """A rule as `policy ls --json` has it."""

    id: str
    name: str
    policy_id: str
    scope: str
    applies_to: str
    resource_type: str
    decision: str
    protocols: list[str]
    resources: list[str]
    origin: str
    status: str
    editable: bool
    provenance: Provenance
    http_targets: NotRequired[list[HttpTarget]]
    private: NotRequired[bool]
    note: NotRequired[str]
    until_stop: NotRequired[bool]


class Governance(TypedDict):
    """Whether an organisation's policy counts; this version knows only local ones."""

    active: bool


class CheckRow(TypedDict):
    """An answer as `policy check --json` has it."""

    allowed: bool
    action: str
    context: str
    deny_kind: NotRequired[str]
    governance: Governance
    origin: NotRequired[str]
    reason: str
    resource_type: str
    resource_value: str
    rule: NotRequired[str]
    target: str
    type: str
    inspected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The filters of `policy ls`; None lets everything pass."""

    sandbox: str | None = None  # rules that count for it: its own and those for all
    type: str | None = None  # network, http or filesystem
    source: Origin | None = None
    decision: Effect | None = None
    created_via: CreatedVia | None = None
    protocol: str | None = None
    include_inactive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLine:
    """A line of the table of `policy ls`."""

    policy: str
    source: str
    applies_to: str
    summary: str
    status: str

    def cells(self) -> list[str]:
        return [self.policy, self.source, self.applies_to, self.summary, self.status]


def rows(rules: RuleSet, wanted: Filter) -> list[RuleRow]:
    """The rules that pass the filters, as JSON has them."""
    return [rule_row(rules, rule) for rule in select(rules, wanted)]


def select(rules: RuleSet, wanted: Filter) -> list[Rule]:
    """The rules that pass the filters, in the order in which they stand."""
    return [
        rule
        for rule in rules.rules()
        if (wanted.include_inactive or rules.is_active(rule))
        and (wanted.sandbox is None or rule.sandbox in (None, wanted.sandbox))
        and wanted.type in (None, resource_type(rule))
        and wanted.source in (None, rule.origin)
        and wanted.decision in (None, rule.effect)
        and wanted.created_via in (None, rule.created_via)
        and (wanted.protocol is None or wanted.protocol in rule.protocols)
    ]


def rule_row(rules: RuleSet, rule: Rule) -> RuleRow:
    """One rule, as JSON has it."""
    row = RuleRow(
        id=rule.id,
        name=rule.name,
        policy_id=policy_of(rule),
        scope=scope_of(rule),
        applies_to=rule.sandbox or "all",
        resource_type=resource_type(rule),
        decision=rule.effect.value,
        protocols=sorted(rule.protocols),
        resources=[str(resource) for resource in rule.resources],
        origin=rule.origin.value,
        status=status_of(rules, rule),
        editable=is_editable(rule),
        provenance=Provenance(created_via=rule.created_via.value),
    )
    if rule.http is not None:
        methods, path = rule.http.method_text.split(","), str(rule.http.path)
        row["http_targets"] = [
            HttpTarget(host=str(resource), methods=methods, path=path)
            for resource in rule.resources
        ]
    if rule.private:
        row["private"] = True
    if rule.note:
        row["note"] = rule.note
    if rule.until_stop:
        row["until_stop"] = True
    return row


def table(rules: RuleSet, wanted: Filter) -> list[PolicyLine]:
    """The lines of `policy ls`: one for each policy, scope and status, with counts of resources."""
    counts: dict[tuple[str, str, str, str], dict[tuple[str, str], int]] = {}
    for rule in select(rules, wanted):
        key = (policy_of(rule), rule.origin, rule.sandbox or "all", status_of(rules, rule))
        by_kind = counts.setdefault(key, {})
        kind = (resource_type(rule), rule.effect.value)
        by_kind[kind] = by_kind.get(kind, 0) + len(rule.resources)
    return [
        PolicyLine(policy=p, source=o, applies_to=a, summary=_summary(by_kind), status=s)
        for (p, o, a, s), by_kind in counts.items()
    ]


WIDE_COLUMNS = (
    "SOURCE",
    "APPLIES TO",
    "POLICY",
    "POLICY_ID",
    "RULE",
    "RULE_ID",
    "TYPE",
    "METHOD",
    "PATH",
    "DECISION",
    "RESOURCES",
)


def wide_cells(rule: Rule) -> list[str]:
    """A line of `policy ls --wide`, under `WIDE_COLUMNS`."""
    return [
        rule.origin.value,
        rule.sandbox or "all",
        policy_of(rule),
        policy_of(rule),
        rule.name,
        rule.id,
        resource_type(rule),
        rule.http.method_text if rule.http else "-",
        str(rule.http.path) if rule.http else "-",
        rule.effect.value,
        ", ".join(map(str, rule.resources)),
    ]


def inspect_cells(rules: RuleSet, found: Iterable[Rule]) -> list[list[str]]:
    """Lines of `policy inspect`: one for each resource."""
    return [
        [
            rule.effect.value,
            str(resource),
            resource_type(rule),
            f"{rule.http.method_text} {rule.http.path}" if rule.http else "-",
            status_of(rules, rule),
        ]
        for rule in found
        for resource in rule.resources
    ]


def find(rules: RuleSet, name: str) -> list[Rule]:
    """The rules that `policy inspect` means: of a policy, or with this id or name."""
    every = rules.rules()
    return [r for r in every if name in (r.id, r.name)] or [
        r for r in every if name == policy_of(r)
    ]


def check_row(
    decision: Decision, to: Endpoint, *, typed: str, sandbox: str | None, method: str | None = None
) -> CheckRow:
    """An answer, as JSON has it."""
    row = CheckRow(
        allowed=decision.allowed,
        action=method or "connect",
        context=f"sandbox:{sandbox}" if sandbox else "global",
        governance=Governance(active=False),
        reason=decision.reason,
        resource_type="http" if method else "network",
        resource_value=str(to),
        target=typed,
        type="network",
        inspected=decision.inspect,
    )
    if decision.kind is not None:
        row["deny_kind"] = decision.kind.value
    if decision.rule is not None:
        row["origin"] = decision.origin
        row["rule"] = decision.rule.name
    return row


def check_lines(decision: Decision, to: Endpoint, *, typed: str, sandbox: str | None) -> list[str]:
    """An answer, for a person."""
    if decision.allowed:
        return [f"Allowed: {typed}"]
    lines = [f"Denied: {to}", f"Reason: {decision.reason}"]
    return [*lines, *(f"Hint: {text}" for text in filter(None, [remedy(decision, to, sandbox)]))]


def remedy(decision: Decision, to: Endpoint, sandbox: str | None = None) -> str | None:
    """What the user can run to allow what was denied, if a command can."""
    scope = f" --sandbox {sandbox}" if sandbox else ""
    udp = " --protocol udp" if to.protocol == "udp" else ""
    match decision.kind:
        case DenyKind.DEFAULT:
            return f"sbx policy allow network{scope}{udp} {to}"
        case DenyKind.RULE if decision.rule and decision.resource and is_editable(decision.rule):
            return remove_command(decision.rule, decision.resource)
        case DenyKind.ADDRESS if decision.address and classify(decision.address) in _NAMEABLE:
            return f"sbx policy allow network{scope}{udp} {show_host(decision.address)}:{to.port}"
        case DenyKind.UNINITIALIZED:
            return "sbx policy init balanced"
        case _:
            return None


def approval_text(to: Endpoint) -> str:
    """The body of a 403 for what the user will be asked about."""
    return (
        f"Approval required for {to}.\n\n"
        "Review and respond with:\n  sbx policy approval ls\n"
        f"{_ADVICE}\n"
    )


def block_text(decision: Decision, to: Endpoint, sandbox: str | None = None) -> str:
    """The body of a 403: what was blocked, why, and how the user can allow it."""
    lines = [f"Blocked by network policy: {to}", f"  detail: {decision.reason}"]
    if decision.rule is not None:
        lines += [f"  rule: {decision.rule.name}", f"  origin: {decision.origin}"]
    if command := remedy(decision, to, sandbox):
        lines += ["The user can allow it, on the host, with:", f"  {command}", _ADVICE]
    else:
        lines.append("No command allows it: it is closed to every sandbox.")
    return "\n".join(lines) + "\n"


def policy_of(rule: Rule) -> str:
    """The name and id of the policy that a rule belongs to."""
    if rule.origin is Origin.KIT:
        return f"kit:{rule.sandbox}"
    return LOCAL_POLICY if rule.sandbox is None else f"{LOCAL_POLICY}:{rule.sandbox}"


def scope_of(rule: Rule) -> str:
    """`global`, or the sandbox."""
    return "global" if rule.sandbox is None else f"sandbox:{rule.sandbox}"


def resource_type(rule: Rule) -> str:
    """`network` or `http`."""
    return "network" if rule.http is None else "http"


def status_of(rules: RuleSet, rule: Rule) -> str:
    """`active` or `inactive`."""
    return "active" if rules.is_active(rule) else "inactive"


def _summary(counts: dict[tuple[str, str], int]) -> str:
    """`network: 3 allow, 1 deny; http: 1 allow`."""
    parts: dict[str, list[str]] = {}
    for (kind, effect), number in sorted(counts.items(), key=lambda item: item[0][0] != "network"):
        parts.setdefault(kind, []).append(f"{number} {effect}")
    return "; ".join(f"{kind}: {', '.join(numbers)}" for kind, numbers in parts.items())
