# SPDX-License-Identifier: Apache-2.0
"""`sbx logout`: succeeds, since scripts call it; there is nothing to sign out of."""

from __future__ import annotations

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import emit, out, talk


@click.command("logout", cls=Command, examples="sbx logout")
@click.option("-f", "--force", "-y", "--yes", "force", is_flag=True, help="For older scripts")
@format_options
@pass_app
def command(app: App, force: bool) -> None:
    """Nothing to sign out of: there are no accounts. Sandboxes and policy stay as they are."""
    del force
    if app.format is not Format.TABLE:
        emit(app, {"account": None})
        return
    out("✓ Not signed in: no account is needed")
    talk("To remove everything that sbx has stored, run: sbx reset")
