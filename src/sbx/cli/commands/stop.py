# SPDX-License-Identifier: Apache-2.0
"""`sbx stop`: bring machines down in order; disks stay."""

from __future__ import annotations

import click

from sbx.cli import engine, views
from sbx.cli.actions import each
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import Json, out, talk, warn

_EXAMPLES = """
sbx stop shell-myproject

# All that run
sbx ls --json | jq -r '.[] | select(.status == "running") | .name' | xargs sbx stop
"""


@click.command("stop", cls=Command, examples=_EXAMPLES)
@click.argument(
    "sandboxes", metavar="SANDBOX...", nargs=-1, required=True, shell_complete=sandbox_names
)
@format_options
@pass_app
def command(app: App, sandboxes: tuple[str, ...]) -> ExitStatus:
    """Stop sandboxes and keep their files.

    Files, installed packages and settings inside are kept on the sandbox's disk.
    """
    engine.begin(app)
    return each(app, sandboxes, lambda name: _stop(app, name))


def _stop(app: App, name: str) -> dict[str, Json]:
    from sbx.lifecycle.stop import StopResult

    spec = engine.status(app, name).spec
    result = engine.stop(app, name)
    if result is StopResult.KILLED:
        warn(f"sandbox {name} did not answer and was ended by force")
    if app.format is Format.TABLE:
        out(
            f"✓ Sandbox {name} {result}"
            if result is StopResult.ALREADY
            else f"✓ Stopped sandbox {name}"
        )
        talk(f"Its state is preserved. To start it again, run: sbx run --name {name}")
    return views.action("stopped", name, sandbox_id=spec.id)
