# SPDX-License-Identifier: Apache-2.0
"""`sbx apply`: everything a sandbox changed, as staged changes."""

from __future__ import annotations

import click

from sbx.cli import engine
from sbx.cli.app import App
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.wayback import tell_merged
from sbx.workspace.git.merge import How

_EXAMPLES = """
sbx apply shell-myproject-fix-login

# Then look, and commit what you like
git diff --cached
"""


@click.command("apply", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", shell_complete=sandbox_names)
@format_options
@pass_app
def command(app: App, sandbox: str) -> None:
    """Put everything that a sandbox changed into your working tree, staged and not committed.

    What the sandbox has not committed is included. Nothing is changed if it does not merge cleanly
    or something of yours is in the way.
    """
    engine.begin(app)
    work = engine.work_of(app, sandbox)
    tell_merged(app, work, work.bring_in(How.APPLY), "applied")
