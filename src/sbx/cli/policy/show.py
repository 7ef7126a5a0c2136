# SPDX-License-Identifier: Apache-2.0
"""`sbx policy ls|inspect|check|profile`: what the rules are, and what they say of a target."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

import click

from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command, Group
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import Json, clean, emit, out, table, talk
from sbx.cli.policy.scope import known_sandbox, one_protocol, rule_names, sandbox_option
from sbx.errors import NotFoundError
from sbx.policy import views
from sbx.policy.hosts import Endpoint, bad_host, parse_endpoint, parse_host, show_host, to_ascii
from sbx.policy.presets import Preset
from sbx.policy.rules import CreatedVia, Decision, Effect, Origin, Rule, parse_methods
from sbx.policy.ruleset import RuleSet
from sbx.policy.views import Filter
from sbx.store.rules import need_policy

_LS_EXAMPLES = """
sbx policy ls

# Every rule that counts for one sandbox, with its patterns
sbx policy ls shell-myproject --wide

# What was added by hand
sbx policy ls --created-via added --json
"""
_INSPECT_EXAMPLES = """
# One line for each pattern of the rules for all sandboxes
sbx policy inspect local-policy

# One rule
sbx policy inspect default-package-registries
"""
_CHECK_EXAMPLES = """
sbx policy check network example.com
sbx policy check network --sandbox shell-myproject https://api.example.com/v1/items
"""
_COLUMNS = ("POLICY", "SOURCE", "APPLIES TO", "SUMMARY", "STATUS")
_SCHEMES = {"https": 443, "http": 80, "wss": 443, "ws": 80}


@click.command("ls", cls=Command, examples=_LS_EXAMPLES)
@click.argument("sandbox", required=False, shell_complete=sandbox_names)
@click.option("--wide", is_flag=True, help="One line for each rule")
@click.option(
    "--type", "kind", type=click.Choice(["all", "network", "filesystem", "http"]), metavar="TYPE",
    default="all", help="all, network, filesystem (there are none) or http (default all)",
)  # fmt: skip
@click.option(
    "--source", type=click.Choice([o.value for o in Origin]), metavar="SOURCE",
    help="local, org or kit",
)  # fmt: skip
@click.option(
    "--decision", type=click.Choice([e.value for e in Effect]), metavar="DECISION",
    help="allow or deny",
)  # fmt: skip
@click.option(
    "--created-via", type=click.Choice([c.value for c in CreatedVia]), metavar="HOW",
    help="default, added, provisioned or approval",
)  # fmt: skip
@click.option("--protocol", type=click.Choice(["tcp", "udp"]), metavar="P", help="tcp or udp")
@click.option("--profile", metavar="PROFILE", help="Rules of a profile (there are none)")
@click.option("--include-inactive", is_flag=True, help="Also rules that do not count now")
@format_options
@pass_app
def ls(
    app: App, *, sandbox: str | None, wide: bool, kind: str, source: str | None,
    decision: str | None, created_via: str | None, protocol: str | None, profile: str | None,
    include_inactive: bool,
) -> None:  # fmt: skip
    """List the rules, those of the posture included.

    With SANDBOX: the rules that count for it, its own and those for all.
    """
    if profile is not None:
        raise NotFoundError(f'profile not found: "{profile}"', hint="Run: sbx policy profile ls")
    wanted = Filter(
        sandbox=known_sandbox(app, sandbox),
        type=None if kind == "all" else kind,
        source=None if source is None else Origin(source),
        decision=None if decision is None else Effect(decision),
        created_via=None if created_via is None else CreatedVia(created_via),
        protocol=protocol,
        include_inactive=include_inactive,
    )
    rules = need_policy(app.paths)
    if app.format is not Format.TABLE:
        emit(app, {"rules": cast("Json", views.rows(rules, wanted))})
        return
    _show(rules, wanted, wide=wide)


def _show(rules: RuleSet, wanted: Filter, *, wide: bool) -> None:
    talk(f"Posture: {rules.preset.posture} ({rules.preset})")
    found = views.select(rules, wanted)
    if not found:
        out("No policies match the selected filters.")
        if rules.preset is Preset.DENY_ALL and not rules.rules():
            talk("There are no rules: everything is denied")
    elif wide:
        out(table(views.WIDE_COLUMNS, [views.wide_cells(rule) for rule in found]))
    else:
        count = len(_COLUMNS) if wanted.include_inactive else len(_COLUMNS) - 1
        lines = [line.cells()[:count] for line in views.table(rules, wanted)]
        out(table(_COLUMNS[:count], lines))


@click.command("inspect", cls=Command, examples=_INSPECT_EXAMPLES)
@click.argument("name", metavar="ID|NAME", shell_complete=rule_names)
@format_options
@pass_app
def inspect(app: App, name: str) -> None:
    """Show a policy or a rule, one line for each pattern."""
    rules = need_policy(app.paths)
    found = views.find(rules, name)
    if not found and name != views.LOCAL_POLICY:
        raise NotFoundError(f'no such policy or rule: "{name}"', hint="Run: sbx policy ls --wide")
    if app.format is not Format.TABLE:
        rows: list[Json] = [cast("Json", views.rule_row(rules, rule)) for rule in found]
        emit(app, {"rules": rows})
        return
    for line in _aligned(views.inspect_cells(rules, found)):
        out(line)
    for text in _notes(found):
        talk(clean(text))


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns without a heading."""
    return table([""] * len(rows[0]), rows).split("\n")[1:] if rows else []


def _notes(found: list[Rule]) -> list[str]:
    return [f"{rule.name}: {rule.note}" for rule in found if rule.note]


@click.group("check", cls=Group, examples="sbx policy check network example.com")
def check() -> None:
    """Ask what the rules would decide."""


@check.command("network", examples=_CHECK_EXAMPLES)
@click.argument("target", metavar="TARGET")
@sandbox_option("With the rules of this sandbox (default: those for all)")
@click.option(
    "--protocol", type=click.Choice(["tcp", "udp"]), metavar="P", help="tcp or udp (default tcp)"
)
@click.option("--method", metavar="METHOD", help="Of the request to a URL (default GET)")
@click.option("--verbose", is_flag=True, help="Also the rule that decided")
@format_options
@pass_app
@click.pass_context
def _check(
    ctx: click.Context, app: App, *, target: str, sandbox: str | None, protocol: str | None,
    method: str | None, verbose: bool,
) -> ExitStatus:  # fmt: skip
    """Would this be allowed? The exit status is 0 if so, else 1.

    TARGET is a host, host:port (default 443), an address, or a URL. Nothing is looked up: a name
    that leads to a special address is refused only when it is dialled.
    """
    known_sandbox(app, sandbox)
    url = _url(target)
    if method is not None and url is None:
        raise click.UsageError("--method is about a request: name a URL", ctx)
    if url is not None and protocol == "udp":
        raise click.UsageError("a URL is about HTTP, which is tcp", ctx)
    policy = need_policy(app.paths).compile(sandbox)
    verb: str | None = None
    if url is None:
        kind = one_protocol(protocol)
        to = parse_endpoint(to_ascii(target.strip()), default_port=443, protocol=kind)
        decision = policy.connection(to)
    else:
        verb = _one_method(method or "GET")
        to, path = url
        decision = policy.request(to, verb, path)
        if decision.allowed and not isinstance(to.host, str):
            decision = policy.connection(to)  # looks at the address as well
    if app.format is not Format.TABLE:
        row = views.check_row(decision, to, typed=target, sandbox=sandbox, method=verb)
        emit(app, cast("Json", row))
    else:
        for line in views.check_lines(decision, to, typed=target, sandbox=sandbox):
            out(clean(line))
        for line in _verbose(decision) if verbose else ():
            out(clean(line))
    return ExitStatus.OK if decision.allowed else ExitStatus.FAILURE


def _one_method(text: str) -> str:
    methods = parse_methods(text)
    if len(methods) != 1:
        raise click.UsageError("name one method")
    return next(iter(methods))


def _url(target: str) -> tuple[Endpoint, str] | None:
    """Where a URL leads, and its path and query; None if it is none."""
    if "://" not in target:
        return None
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError as error:
        raise bad_host(target, "it is no URL") from error
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise bad_host(target, f"a URL begins with one of {', '.join(_SCHEMES)}")
    if parts.username is not None:
        raise bad_host(target, "it holds a user name", "Leave out what stands before the @")
    text = f"[{parts.hostname}]" if ":" in parts.hostname else to_ascii(parts.hostname)
    to = Endpoint(host=parse_host(text), port=port or _SCHEMES[parts.scheme])
    return to, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _verbose(decision: Decision) -> list[str]:
    lines = [f"Decided by: {decision.rule.name if decision.rule else 'no rule'}"]
    if decision.rule is not None:
        lines += [f"Rule id: {decision.rule.id}", f"Origin: {decision.origin}"]
    if decision.resource is not None:
        lines.append(f"Pattern: {decision.resource}")
    if decision.address is not None:
        lines.append(f"Address: {show_host(decision.address)}")
    if decision.allowed:
        lines.append(f"Requests are read: {'yes' if decision.inspect else 'no'}")
    return lines


@click.group("profile", cls=Group, examples="sbx policy profile ls")
def profile() -> None:
    """Profiles of an organisation; this version has no source of them."""


@profile.command("ls", examples="sbx policy profile ls --json")
@format_options
@pass_app
def _profiles(app: App) -> None:
    """List profiles: there are none."""
    if app.format is not Format.TABLE:
        emit(app, [], wrap="profiles")
        return
    out("No profiles found.")
