# SPDX-License-Identifier: Apache-2.0
"""`sbx port`: ports of the host that lead to ports of a sandbox."""

from __future__ import annotations

import click

from sbx.cli import engine, ports
from sbx.cli.app import App
from sbx.cli.group import Group
from sbx.cli.options import format_options, pass_app, sandbox_names

_EXAMPLES = """
sbx port publish shell-myproject 8080:3000
sbx port ls shell-myproject
sbx port unpublish shell-myproject 3000
"""


@click.group("port", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Publish ports of a sandbox on this host.

    SPEC is [[HOST_IP:]HOST_PORT:]SANDBOX_PORT[/PROTOCOL]. Protocols are tcp, tcp4, tcp6, udp, udp4
    and udp6; without one it is tcp4, or tcp6 for an IPv6 address. Without HOST_IP only this host
    can reach the port, without HOST_PORT a free one is taken. The program in the sandbox must
    listen on all its interfaces, not on its loopback alone.
    """


@command.command("ls", examples="sbx port ls shell-myproject\nsbx port ls shell-myproject --json")
@click.argument("sandbox", shell_complete=sandbox_names)
@format_options
@pass_app
def _ls(app: App, sandbox: str) -> None:
    """List the published ports of a sandbox."""
    engine.begin(app)
    ports.show(app, sandbox)


@command.command(
    "publish",
    examples="""
# Port 3000 of the sandbox at http://127.0.0.1:8080
sbx port publish shell-myproject 8080:3000

# A free port of the host, IPv4 and IPv6
sbx port publish shell-myproject 3000/tcp

# For other machines too
sbx port publish shell-myproject 0.0.0.0:8080:3000
""",
)
@click.argument("sandbox", shell_complete=sandbox_names)
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@format_options
@pass_app
def _publish(app: App, sandbox: str, specs: tuple[str, ...]) -> None:
    """Publish ports, all of them or none; a stopped sandbox is started."""
    engine.begin(app)
    ports.change(app, sandbox, specs, ())


@command.command("unpublish", examples="sbx port unpublish shell-myproject 8080:3000")
@click.argument("sandbox", shell_complete=sandbox_names)
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@format_options
@pass_app
def _unpublish(app: App, sandbox: str, specs: tuple[str, ...]) -> None:
    """Take published ports back; connections through them end."""
    engine.begin(app)
    ports.change(app, sandbox, (), specs)
