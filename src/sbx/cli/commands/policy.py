# SPDX-License-Identifier: Apache-2.0
"""`sbx policy`: what sandboxes may reach."""

from __future__ import annotations

import click

from sbx.cli.group import Group
from sbx.cli.policy import approval, edit, log, posture, show

_EXAMPLES = """
# Once: what coding agents need from day to day
sbx policy init balanced

# Then what else is needed
sbx policy allow network example.com:443

# What counts, and what would happen
sbx policy ls --wide
sbx policy check network example.com
"""


@click.group("policy", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Show and change what sandboxes may reach.

    What no rule allows is denied. Changes reach running sandboxes at once.
    """


for _part in (
    approval.approval,
    edit.allow,
    edit.deny,
    edit.rm,
    log.log,
    posture.init,
    posture.reset,
    show.check,
    show.inspect,
    show.ls,
    show.profile,
):
    command.add_command(_part)
command.add_command(posture.init, "set-default")
