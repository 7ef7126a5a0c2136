# SPDX-License-Identifier: Apache-2.0
"""`sbx ports`: the same as `sbx port`, in the spelling of older versions."""

from __future__ import annotations

import click

from sbx.cli import engine, ports
from sbx.cli.app import App
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names

_EXAMPLES = """
sbx ports shell-myproject
sbx ports shell-myproject --publish 8080:3000 --unpublish 9090
"""


@click.command("ports", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", shell_complete=sandbox_names)
@click.option("--publish", multiple=True, metavar="SPEC", help="Publish a port (repeat)")
@click.option("--unpublish", multiple=True, metavar="SPEC", help="Take a port back (repeat)")
@format_options
@pass_app
def command(app: App, sandbox: str, publish: tuple[str, ...], unpublish: tuple[str, ...]) -> None:
    """List, publish or take back ports of a sandbox.

    SPEC is [[HOST_IP:]HOST_PORT:]SANDBOX_PORT[/PROTOCOL], see: sbx port --help.
    """
    engine.begin(app)
    if publish or unpublish:
        ports.change(app, sandbox, publish, unpublish)
    else:
        ports.show(app, sandbox)
