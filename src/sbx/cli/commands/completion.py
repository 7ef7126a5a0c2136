# SPDX-License-Identifier: Apache-2.0
"""`sbx completion SHELL`: the script that a shell loads."""

from __future__ import annotations

import click

from sbx.cli.completion import SHELLS, script
from sbx.cli.group import Command
from sbx.cli.output import out

_EXAMPLES = """
# For this session, in bash
source <(sbx completion bash)

# For good, in fish
sbx completion fish > ~/.config/fish/completions/sbx.fish
"""


@click.command("completion", cls=Command, examples=_EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a completion script for a shell."""
    out(script(ctx.find_root().command, shell))
