# SPDX-License-Identifier: Apache-2.0
"""The network posture: chosen once, by `policy init`, by `login`, or when first asked for."""

from __future__ import annotations

import contextlib
import sys
from typing import cast

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, out, talk, warn
from sbx.cli.policy.scope import put_in_force
from sbx.cli.prompt import can_ask, confirm
from sbx.errors import ConflictError, UserError
from sbx.policy import views
from sbx.policy.presets import Preset
from sbx.policy.rules import Rule
from sbx.policy.ruleset import RuleSet
from sbx.store.mirrors import Machine, find_mirrors, mirror_rules
from sbx.store.rules import NOT_INITIALIZED, delete_policy, init_policy, need_policy, read_policy

_INIT_EXAMPLES = """
# What coding agents need from day to day, and nothing else
sbx policy init balanced

# Nothing; then allow one by one
sbx policy init deny-all
"""
_RESET_EXAMPLES = """
sbx policy reset

# Without a question, in a script
sbx policy reset -f
"""
_TRIES = 3
_SAYS = {
    Preset.ALLOW_ALL: "everything with a public address is allowed",
    Preset.BALANCED: "models, packages, source code, images; everything else is denied",
    Preset.DENY_ALL: "everything is denied until you allow it",
}


@click.command("init", cls=Command, examples=_INIT_EXAMPLES)
@click.argument("preset", type=click.Choice([p.value for p in Preset]))
@click.option(
    "--no-mirrors", is_flag=True,
    help="Balanced without the indexes that your pip, npm, apt, cargo and Go settings name",
)  # fmt: skip
@format_options
@pass_app
def init(app: App, preset: str, no_mirrors: bool) -> None:
    """Choose the network posture of all sandboxes, once.

    Open (allow-all), Balanced (balanced) or Locked Down (deny-all). With Balanced come, as rules of
    their own, the package indexes and mirrors that this user's tools are set to. Then add rules to
    it with `sbx policy allow` and `sbx policy deny`. To choose again, run `sbx policy reset` first.
    """
    extra = choose(app, Preset(preset), mirrors=not no_mirrors)
    if app.format is not Format.TABLE:
        rows: list[Json] = [cast("Json", row) for row in extra]
        emit(app, {"action": "initialized", "preset": preset,
                   "posture": Preset(preset).posture, "added": rows})  # fmt: skip
        return
    out(f'Global network policy initialized to "{preset}".')


def choose(app: App, preset: Preset, *, mirrors: bool = True) -> list[views.RuleRow]:
    """Choose a posture; returns the rules that came with it and are not part of it.

    With Balanced come the indexes and mirrors of the user's own tools, unless told otherwise.

    Raises:
        ConflictError: one was chosen before.
    """
    extra: tuple[Rule, ...] = ()
    if preset is Preset.BALANCED and mirrors and read_policy(app.paths) is None:
        extra = _mirrors(preset)
    rules = init_policy(app.paths, preset, extra)
    put_in_force(app)
    talk(f"{preset.posture}: {_SAYS[preset]}")
    for rule in extra:
        talk(clean(f"Allowed too: {', '.join(map(str, rule.resources))} ({rule.note})"))
    return [views.rule_row(rules, rule) for rule in extra]


def choose_now(app: App, *, needed: bool) -> None:
    """Ask for a posture, or say that there is none (see `ensure_posture`)."""
    if not can_ask(app):
        if needed:
            need_policy(app.paths)
        warn(
            f"{NOT_INITIALIZED}: nothing can be reached from inside. "
            "Run: sbx policy init balanced (or allow-all, or deny-all)"
        )
        return
    with contextlib.suppress(ConflictError):  # somebody else has chosen meanwhile
        choose(app, ask())


def ask() -> Preset:
    """Ask for a posture on the terminal.

    Raises:
        UserError: there was no answer.
    """
    talk("What may sandboxes reach? You can change it later with `sbx policy`.")
    for number, preset in enumerate(Preset, 1):
        talk(f"  {number}. {preset.posture:<12} {_SAYS[preset]}")
    for _ in range(_TRIES):
        print(f"Choose 1-{len(Preset)} [2]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            talk()
            break
        if (found := _answers().get(line.strip().lower())) is not None:
            return found
    raise UserError("no network policy was chosen", hint="Run: sbx policy init balanced")


def _answers() -> dict[str, Preset]:
    """What a person may type: a number, a name, or just Enter."""
    found = {"": Preset.BALANCED}
    for number, preset in enumerate(Preset, 1):
        found |= dict.fromkeys((str(number), preset.value, preset.posture.lower()), preset)
    return found


def _mirrors(preset: Preset) -> tuple[Rule, ...]:
    found = find_mirrors(Machine.own())
    for problem in found.problems:
        warn(clean(f"not looked at for mirrors: {problem}"))
    return mirror_rules(RuleSet(preset=preset), found.mirrors)


@click.command("reset", cls=Command, examples=_RESET_EXAMPLES)
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@format_options
@pass_app
def reset(app: App, force: bool) -> None:
    """Forget posture and rules, also a policy that cannot be read.

    Sandboxes that run go on running, and reach nothing until a posture is chosen again.
    """
    if not force:
        confirm(app, "Forget the network policy with all rules?", instead="sbx policy reset -f")
    there = delete_policy(app.paths)
    put_in_force(app)
    if app.format is not Format.TABLE:
        emit(app, {"action": "removed" if there else "unchanged", "resource": "policy"})
        return
    out("✓ Network policy removed" if there else "There was no network policy")
    talk("Until another one is chosen, everything is denied. Run: sbx policy init balanced")
