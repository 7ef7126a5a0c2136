# SPDX-License-Identifier: Apache-2.0
"""`sbx policy approval ls|inspect|respond`: the questions of sandboxes, and the user's answers."""

from __future__ import annotations

import uuid
from enum import StrEnum

import click
from click.shell_completion import CompletionItem

from sbx.cli.app import App, Format
from sbx.cli.group import Group
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import Json, clean, emit, note, out, table, talk, timestamp
from sbx.cli.policy.scope import known_sandbox, put_in_force
from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.policy.hosts import Endpoint, parse_host
from sbx.policy.patterns import parse_resources
from sbx.policy.rules import CreatedVia, DenyKind, Effect, Rule
from sbx.policy.ruleset import RuleSet, add, unused_name
from sbx.store import paths as names
from sbx.store import records
from sbx.store.approvals import Pending, answered, pending
from sbx.store.rules import change_policy, read_policy
from sbx.system.locks import is_locked

_COLUMNS = ("ID", "SANDBOX", "RESOURCE", "PROTOCOL", "ASKED")
_ANY_PORT = 443  # stands for a port when only the name is known
_LS_EXAMPLES = """
sbx policy approval ls

# Of one sandbox, for scripts
sbx policy approval ls shell-myproject --json
"""
_RESPOND_EXAMPLES = """
# For this sandbox, from now on
sbx policy approval respond 1f0c9ab2 allow

# Until it stops
sbx policy approval respond 1f0c9ab2 allow --scope once

# For all sandboxes
sbx policy approval respond 1f0c9ab2 deny --scope global
"""


class Scope(StrEnum):
    """How far an answer goes."""

    ONCE = "once"  # this sandbox, until it stops
    SANDBOX = "sandbox"
    GLOBAL = "global"


def _numbers(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:  # fmt: skip
    """Open questions, for completion in a shell."""
    del param
    found = pending(ctx.ensure_object(App).paths)
    return [
        CompletionItem(one.id, help=f"{clean(one.sandbox)} {clean(one.resource)}")
        for one in found
        if one.id.startswith(incomplete)
    ]


@click.group("approval", cls=Group, examples=_LS_EXAMPLES)
def approval() -> None:
    """Answer what sandboxes ask for.

    With the setting policy.approvals, what no rule allows is blocked and collected here.
    """


@approval.command("ls", examples=_LS_EXAMPLES)
@click.argument("sandbox", required=False, shell_complete=sandbox_names)
@format_options
@pass_app
def _ls(app: App, sandbox: str | None) -> None:
    """List open questions, the oldest first."""
    known_sandbox(app, sandbox)
    found = [one for one in _open(app) if sandbox in (None, one.sandbox)]
    if app.format is not Format.TABLE:
        emit(app, [_document(one) for one in found], wrap="approvals")
        return
    if not found:
        out("No approvals are pending.")
        if not app.settings.flag("policy.approvals"):
            talk("Approvals are off. Run: sbx settings set policy.approvals true")
        return
    out(table(_COLUMNS, [_cells(one) for one in found]))
    talk(f"To answer, run: sbx policy approval respond {found[0].id} allow|deny")


@approval.command("inspect", examples="sbx policy approval inspect 1f0c9ab2")
@click.argument("number", metavar="ID", shell_complete=_numbers)
@format_options
@pass_app
def _inspect(app: App, number: str) -> None:
    """Show one question."""
    one = _find(app, number)
    if app.format is not Format.TABLE:
        emit(app, _document(one))
        return
    for key, value in zip(_COLUMNS, _cells(one), strict=True):
        out(f"{key.lower():<10}{clean(value)}")


@approval.command("respond", examples=_RESPOND_EXAMPLES)
@click.argument("number", metavar="ID", shell_complete=_numbers)
@click.argument("answer", type=click.Choice([e.value for e in Effect]))
@click.option(
    "--scope", type=click.Choice([s.value for s in Scope]), metavar="SCOPE", default="sandbox",
    help="once (until the sandbox stops), sandbox or global (default sandbox)",
)  # fmt: skip
@format_options
@pass_app
def _respond(app: App, number: str, answer: str, scope: str) -> None:
    """Answer a question: a rule is added, and the running sandbox follows at once."""
    one = _find(app, number)
    how, effect = Scope(scope), Effect(answer)
    if how is Scope.ONCE and not _is_running(app, one.sandbox):
        raise ConflictError(
            f"sandbox `{one.sandbox}` is not running, and `once` lasts until it stops",
            hint=f"Run: sbx policy approval respond {one.id} {answer} --scope sandbox",
        )
    try:
        rule = change_policy(app.paths, lambda rules: _add(rules, one, effect, how))
    except ConflictError as error:
        note(clean(error.message))  # somebody has said so by another way
        rule = None
    answered(app.paths, one)
    put_in_force(app)
    if app.format is not Format.TABLE:
        emit(app, {**_document(one), "status": "allowed" if effect is Effect.ALLOW else "denied",
                   "scope": scope, "rule_id": rule.id if rule else None})  # fmt: skip
        return
    done = "Allowed" if effect is Effect.ALLOW else "Denied"
    out(f"{done} {one.resource} {_scope_text(one, how)}")


def _scope_text(one: Pending, scope: Scope) -> str:
    match scope:
        case Scope.ONCE:
            return f"for sandbox {one.sandbox}, until it stops"
        case Scope.SANDBOX:
            return f"for sandbox {one.sandbox}"
        case Scope.GLOBAL:
            return "for all sandboxes"


def _add(
    rules: RuleSet, one: Pending, effect: Effect, scope: Scope
) -> tuple[RuleSet, Rule]:  # fmt: skip
    resources = parse_resources(one.resource)
    rule = Rule(
        id=str(uuid.uuid4()),
        name=unused_name(rules, effect, resources),
        effect=effect,
        resources=resources,
        protocols=frozenset({one.protocol}),
        sandbox=None if scope is Scope.GLOBAL else one.sandbox,
        created_via=CreatedVia.APPROVAL,
        until_stop=scope is Scope.ONCE,
        note=f"sandbox {one.sandbox} asked for it",
    )
    return add(rules, rule)


def _open(app: App) -> list[Pending]:
    """The questions that are still open: not of a removed sandbox, not decided by a rule since."""
    rules = read_policy(app.paths)
    present = set(records.names(app.paths))
    found: list[Pending] = []
    for one in pending(app.paths):
        if one.sandbox in present and (rules is None or _is_undecided(rules, one)):
            found.append(one)
        else:
            answered(app.paths, one)
    return found


def _is_undecided(rules: RuleSet, one: Pending) -> bool:
    policy = rules.compile(one.sandbox)
    host = parse_host(f"[{one.host}]" if ":" in one.host else one.host)
    if one.port is None and isinstance(host, str):
        return policy.lookup(host).kind is DenyKind.DEFAULT
    to = Endpoint(host=host, port=one.port or _ANY_PORT, protocol=one.protocol)
    return policy.connection(to).kind is DenyKind.DEFAULT


def _find(app: App, number: str) -> Pending:
    found = [one for one in _open(app) if number and one.id.startswith(number.lower())]
    if len(found) > 1:
        raise UserError(f'several approvals begin with "{number}"', hint="Write more of the ID")
    if not found:
        raise NotFoundError(f'no such approval: "{number}"', hint="Run: sbx policy approval ls")
    return found[0]


def _is_running(app: App, sandbox: str) -> bool:
    return is_locked(app.paths.sandbox(sandbox) / names.SUPERVISOR_LOCK)


def _cells(one: Pending) -> list[str]:
    asked = timestamp(one.asked_at.replace(microsecond=0)) or "-"
    return [one.id, one.sandbox, one.resource, one.protocol, asked]


def _document(one: Pending) -> dict[str, Json]:
    return {
        "id": one.id,
        "sandbox": one.sandbox,
        "resource": one.resource,
        "host": one.host,
        "port": one.port,
        "protocol": one.protocol.value,
        "asked_at": timestamp(one.asked_at),
        "status": "pending",
    }
