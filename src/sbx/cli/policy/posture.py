# SPDX-License-Identifier: Apache-2.0
"""The network posture: chosen once, by `policy init`, by `login`, or when first asked for."""

from __future__ import annotations

from typing import cast

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, out, talk
from sbx.cli.prompt import confirm
from sbx.policy import views
from sbx.policy.presets import Preset
from sbx.policy.rules import Rule
from sbx.store.rules import delete_policy, init_policy

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
_SAYS = {
    Preset.ALLOW_ALL: "everything with a public address is allowed",
    Preset.BALANCED: "models, packages, source code, images; everything else is denied",
    Preset.DENY_ALL: "everything is denied until you allow it",
}


@click.command("init", cls=Command, examples=_INIT_EXAMPLES)
@click.argument("preset", type=click.Choice([p.value for p in Preset]))
@format_options
@pass_app
def init(app: App, preset: str) -> None:
    """Choose the network posture of all sandboxes, once.

    Open (allow-all), Balanced (balanced) or Locked Down (deny-all). Then add rules to it with
    `sbx policy allow` and `sbx policy deny`. To choose again, run `sbx policy reset` first.
    """
    extra = choose(app, Preset(preset))
    if app.format is not Format.TABLE:
        rows: list[Json] = [cast("Json", row) for row in extra]
        emit(app, {"action": "initialized", "preset": preset,
                   "posture": Preset(preset).posture, "added": rows})  # fmt: skip
        return
    out(f'Global network policy initialized to "{preset}".')


def choose(app: App, preset: Preset) -> list[views.RuleRow]:
    """Choose a posture; returns the rules that came with it and are not part of it.

    Raises:
        ConflictError: one was chosen before.
    """
    extra: tuple[Rule, ...] = ()
    rules = init_policy(app.paths, preset, extra)
    talk(f"{preset.posture}: {_SAYS[preset]}")
    for rule in extra:
        talk(clean(f"Allowed too: {', '.join(map(str, rule.resources))} ({rule.note})"))
    return [views.rule_row(rules, rule) for rule in extra]


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
    if app.format is not Format.TABLE:
        emit(app, {"action": "removed" if there else "unchanged", "resource": "policy"})
        return
    out("✓ Network policy removed" if there else "There was no network policy")
    talk("Until another one is chosen, everything is denied. Run: sbx policy init balanced")
