# SPDX-License-Identifier: Apache-2.0
"""`sbx policy allow|deny|rm network`: change the rules, and say what came of it."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command, Group
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, note, out, talk, warn
from sbx.cli.policy.scope import (
    http_options,
    known_sandbox,
    put_in_force,
    rule_names,
    sandbox_option,
)
from sbx.cli.prompt import confirm
from sbx.policy import views
from sbx.policy.hosts import Endpoint, HostName, Protocol
from sbx.policy.patterns import Form, Resource, parse_resources
from sbx.policy.rules import DenyKind, Effect, Rule, parse_http, parse_protocols
from sbx.policy.ruleset import RuleSet, Selector, add, remove, unused_name
from sbx.store.rules import change_policy, need_policy

_ALLOW_EXAMPLES = """
# A host on one port, for all sandboxes
sbx policy allow network example.com:443

# Everything below a domain, for one sandbox
sbx policy allow network --sandbox shell-myproject '**.example.com:443'

# Only to read, and only a part
sbx policy allow network --method GET,HEAD --path '/v1/**' api.example.com:443
"""
_DENY_EXAMPLES = """
# Beats every allow
sbx policy deny network '**.example.com'

# Everything but writing
sbx policy deny network --method POST,PUT,PATCH,DELETE api.example.com
"""
_RM_EXAMPLES = """
# One resource, wherever it stands among the rules for all sandboxes
sbx policy rm network --resource example.com:443

# A whole rule, without a question
sbx policy rm network --id allow-example.com -f
"""


@click.group("allow", cls=Group, examples="sbx policy allow network example.com:443")
def allow() -> None:
    """Allow what would be denied."""


@click.group("deny", cls=Group, examples="sbx policy deny network '**.example.com'")
def deny() -> None:
    """Deny what would be allowed; a deny beats every allow."""


@click.group("rm", cls=Group, examples="sbx policy rm network --resource example.com:443")
def rm() -> None:
    """Remove rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Typed:
    """What was asked for, as text."""

    resources: tuple[str, ...]
    sandbox: str | None
    protocol: str | None
    method: str | None
    path: str | None
    private: bool = False


@allow.command("network", examples=_ALLOW_EXAMPLES)
@click.argument("resources", metavar="RESOURCE[,RESOURCE...]", nargs=-1, required=True)
@sandbox_option("Only for this sandbox (default: for all)")
@click.option("--protocol", metavar="tcp|udp", help="tcp, udp or tcp,udp (default tcp)")
@http_options
@click.option(
    "--private", is_flag=True,
    help="These hosts may be at private, shared (100.64.0.0/10) and reserved addresses",
)  # fmt: skip
@format_options
@pass_app
def _allow(
    app: App, *, resources: tuple[str, ...], sandbox: str | None, protocol: str | None,
    method: str | None, path: str | None, private: bool,
) -> None:  # fmt: skip
    """Allow hosts, addresses and ranges; running sandboxes follow at once.

    A RESOURCE is a pattern such as example.com, example.com:443, '**.example.com',
    10.0.0.0/8:22, [2001:db8::1]:443 or localhost:8080; without a port it means all ports.
    """
    typed = _Typed(
        resources=resources, sandbox=known_sandbox(app, sandbox), protocol=protocol,
        method=method, path=path, private=private,
    )  # fmt: skip
    _add(app, Effect.ALLOW, typed)


@deny.command("network", examples=_DENY_EXAMPLES)
@click.argument("resources", metavar="RESOURCE[,RESOURCE...]", nargs=-1, required=True)
@sandbox_option("Only for this sandbox (default: for all)")
@click.option("--protocol", metavar="tcp|udp", help="tcp, udp or tcp,udp (default tcp,udp)")
@http_options
@format_options
@pass_app
def _deny(
    app: App, *, resources: tuple[str, ...], sandbox: str | None, protocol: str | None,
    method: str | None, path: str | None,
) -> None:  # fmt: skip
    """Deny hosts, addresses and ranges; open connections to them are cut at once."""
    typed = _Typed(
        resources=resources, sandbox=known_sandbox(app, sandbox), protocol=protocol,
        method=method, path=path,
    )  # fmt: skip
    _add(app, Effect.DENY, typed)


@rm.command("network", cls=Command, examples=_RM_EXAMPLES)
@sandbox_option("Rules of this sandbox (default: those for all)")
@click.option(
    "--id", "rule_id", metavar="ID", shell_complete=rule_names, help="The rule with this id or name"
)  # fmt: skip
@click.option("--resource", metavar="RESOURCE", help="The rules with this pattern")
@http_options
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@format_options
@pass_app
@click.pass_context
def _rm(
    ctx: click.Context, app: App, *, sandbox: str | None, rule_id: str | None, resource: str | None,
    method: str | None, path: str | None, force: bool,
) -> None:  # fmt: skip
    """Remove a rule, or one pattern of it. Parts of the posture can be removed too."""
    if rule_id is None and resource is None:
        raise click.UsageError("name the rule: --id ID, or --resource RESOURCE", ctx)
    known_sandbox(app, sandbox)
    http = parse_http(method, path)
    parts: list[Resource | None] = [None]
    if resource is not None:
        parts = list(parse_resources(resource))
    wanted = [Selector(id=rule_id, resource=r, sandbox=sandbox, http=http) for r in parts]

    def change(rules: RuleSet) -> tuple[RuleSet, tuple[Rule, ...]]:
        return _remove_all(rules, wanted)

    _rules, doomed = change(need_policy(app.paths))
    if not force and app.settings.flag("cli.confirmRemove"):
        given = [("--sandbox", sandbox), ("--id", rule_id), ("--resource", resource),
                 ("--method", method), ("--path", path)]  # fmt: skip
        flags = [word for name, value in given if value is not None for word in (name, value)]
        confirm(
            app, f"Remove from the policy: {_list(doomed)}?",
            instead=f"sbx policy rm network {shlex.join(flags)} -f",
        )  # fmt: skip
    gone = change_policy(app.paths, change)
    put_in_force(app)
    if app.format is not Format.TABLE:
        emit(app, [_row("removed", need_policy(app.paths), rule) for rule in gone])
        return
    for rule in gone:
        out(f"Policy removed: {rule.id} ({_resources(rule)})")


def _remove_all(rules: RuleSet, wanted: Iterable[Selector]) -> tuple[RuleSet, tuple[Rule, ...]]:
    gone: list[Rule] = []
    for selector in wanted:
        rules, found = remove(rules, selector)
        gone += found
    return rules, tuple(gone)


def _add(app: App, effect: Effect, typed: _Typed) -> None:
    http = parse_http(typed.method, typed.path)
    resources = parse_resources(",".join(typed.resources))
    protocols = parse_protocols(typed.protocol, effect, http)

    def change(rules: RuleSet) -> tuple[RuleSet, Rule]:
        rule = Rule(
            id=str(uuid.uuid4()),
            name=unused_name(rules, effect, resources),
            effect=effect,
            resources=resources,
            protocols=protocols,
            http=http,
            sandbox=typed.sandbox,
            private=typed.private,
        )
        return add(rules, rule)

    added = change_policy(app.paths, change)
    put_in_force(app)
    rules = need_policy(app.paths)
    if left := [str(r) for r in resources if r not in added.resources]:
        note(f"already there, and not added again: {clean(', '.join(left))}")
    if effect is Effect.ALLOW:
        for text in _still_blocked(rules, added):
            warn(clean(text))
    if app.format is not Format.TABLE:
        emit(app, _row("added", rules, added))
        return
    out(f"Policy added: {added.id} ({_resources(added)})")
    talk(clean(_sentence(added)))


def _sentence(rule: Rule) -> str:
    """What a rule does, in words."""
    does = "Allowed" if rule.effect is Effect.ALLOW else "Denied"
    whom = f"sandbox {rule.sandbox}" if rule.sandbox else "all sandboxes"
    what = ", ".join(_describe(resource) for resource in rule.resources)
    how = " and ".join(p.value for p in Protocol if p in rule.protocols)
    if rule.http is not None:
        how = f"HTTP {rule.http.method_text} {rule.http.path}"
    return f"{does} for {whom}: {what}; {how}"


def _describe(resource: Resource) -> str:
    return str(resource) if resource.port is not None else f"{resource} (all ports)"


def _still_blocked(rules: RuleSet, added: Rule) -> list[str]:
    """Names that were just allowed and that another rule denies: the person should know."""
    policy = rules.compile(added.sandbox)
    texts: list[str] = []
    for resource in added.resources:
        if resource.form is not Form.NAME:
            continue
        for protocol in sorted(added.protocols):
            host = HostName(resource.host)
            to = Endpoint(host=host, port=resource.port or 443, protocol=protocol)
            decision = policy.connection(to)
            if decision.kind is DenyKind.RULE:
                way = views.remedy(decision, to, added.sandbox)
                texts.append(
                    f"{to} stays blocked: {decision.reason}" + (f" (see: {way})" if way else "")
                )
    return texts


def _resources(rule: Rule) -> str:
    return ", ".join(map(str, rule.resources))


def _list(rules: Iterable[Rule]) -> str:
    return "; ".join(f"{rule.effect} {_resources(rule)}" for rule in rules)


def _row(action: str, rules: RuleSet, rule: Rule) -> Json:
    return {"action": action, **cast("dict[str, Json]", views.rule_row(rules, rule))}
