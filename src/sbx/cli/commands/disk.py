# SPDX-License-Identifier: Apache-2.0
"""`sbx disk`: the disk of a sandbox, made larger."""

from __future__ import annotations

import click

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.group import Group
from sbx.cli.options import format_options, pass_app, sandbox_names

_EXAMPLES = """
sbx disk grow shell-myproject 60g
"""


@click.group("disk", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Change the disk of a sandbox.

    A disk is sparse: it takes on the host what was written to it, and what is deleted inside goes
    back to the host.
    """


@command.command(
    "grow",
    examples="""
# 60 GiB in all, running or stopped
sbx disk grow shell-myproject 60g
""",
)
@click.argument("sandbox", shell_complete=sandbox_names)
@click.argument("size")
@format_options
@pass_app
def _grow(app: App, sandbox: str, size: str) -> None:
    """Make the disk of a sandbox larger; SIZE is the new size of the whole.

    A running sandbox has the room at once. A disk never becomes smaller.
    """
    from sbx.cli.output import emit, out
    from sbx.lifecycle.disk import grow
    from sbx.sandbox.units import format_size, parse_size

    wanted = parse_size(size)
    engine.begin(app)
    name = engine.status(app, sandbox).spec.name
    before, after = grow(app.paths, name, wanted)
    if app.format is Format.TABLE:
        out(f"The disk of {name} has {format_size(after)} now, {format_size(before)} before")
    else:
        emit(app, {"sandbox": name, "before_bytes": before, "disk_bytes": after})
