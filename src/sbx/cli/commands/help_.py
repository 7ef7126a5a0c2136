# SPDX-License-Identifier: Apache-2.0
"""`sbx help [COMMAND…]`: the same text as `--help`."""

from __future__ import annotations

import click

from sbx.cli.group import Command

_EXAMPLES = """
sbx help run
sbx help settings set
"""


@click.command("help", cls=Command, examples=_EXAMPLES)
@click.argument("words", metavar="[COMMAND...]", nargs=-1)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Help about any command."""
    assert ctx.parent is not None
    found = ctx.parent
    for word in words:
        group = found.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"`{found.command_path}` has no commands of its own", ctx)
        name, command, _rest = group.resolve_command(found, [word])
        assert command is not None
        found = click.Context(command, info_name=name, parent=found)
    click.echo(found.get_help())
