# SPDX-License-Identifier: Apache-2.0
"""`sbx login`: there is no account; it sees to it that a network posture is chosen."""

from __future__ import annotations

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, emit, out, talk
from sbx.cli.policy import posture
from sbx.cli.prompt import can_ask
from sbx.policy.presets import Preset
from sbx.store.rules import init_policy, read_policy

_POSTURES = {
    "open": Preset.ALLOW_ALL,
    "balanced": Preset.BALANCED,
    "locked-down": Preset.DENY_ALL,
    "allow-all": Preset.ALLOW_ALL,
    "deny-all": Preset.DENY_ALL,
}
_EXAMPLES = """
sbx login

# In a script
sbx login --policy balanced
"""


@click.command("login", cls=Command, examples=_EXAMPLES)
@click.option(
    "--policy", type=click.Choice(list(_POSTURES)), metavar="POSTURE",
    help="open, balanced or locked-down (also: allow-all, deny-all)",
)  # fmt: skip
@format_options
@pass_app
def command(app: App, policy: str | None) -> None:
    """Choose the network policy if none is chosen. No account is needed for anything.

    Without --policy it asks on a terminal; elsewhere it says which policy is in force and succeeds.
    """
    rules = read_policy(app.paths)
    wanted = None if policy is None else _POSTURES[policy]
    if rules is None:
        if wanted is None and can_ask(app):
            wanted = posture.ask()
        if wanted is not None:
            posture.choose(app, wanted)
    elif wanted is not None and wanted is not rules.preset:
        init_policy(app.paths, wanted)  # says how to choose again
    _show(app, wanted if rules is None else rules.preset)


def _show(app: App, preset: Preset | None) -> None:
    if app.format is not Format.TABLE:
        row: dict[str, Json] = {"account": None, "policy": None, "posture": None}
        if preset is not None:
            row |= {"policy": preset.value, "posture": preset.posture}
        emit(app, row)
        return
    out("✓ No account is needed")
    if preset is None:
        out("Network policy: none chosen, everything is denied")
        talk("Run: sbx policy init balanced (or allow-all, or deny-all)")
    else:
        out(f"Network policy: {preset.posture} ({preset})")
