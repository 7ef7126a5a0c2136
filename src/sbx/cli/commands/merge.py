# SPDX-License-Identifier: Apache-2.0
"""`sbx merge`: a sandbox's commits into the branch that is checked out."""

from __future__ import annotations

import click

from sbx.cli import engine
from sbx.cli.app import App
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.wayback import tell_merged
from sbx.workspace.git.merge import How

_EXAMPLES = """
sbx merge shell-myproject-fix-login

# As one commit
sbx merge --squash shell-myproject-fix-login
"""


@click.command("merge", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", shell_complete=sandbox_names)
@click.option("--squash", is_flag=True, help="Make one commit of all")
@format_options
@pass_app
def command(app: App, sandbox: str, squash: bool) -> None:
    """Merge the commits of a sandbox into the branch that is checked out in its repository.

    The merge is made apart; your files change only if it is clean and nothing of yours is in the
    way. What the sandbox has not committed stays there.
    """
    engine.begin(app)
    work = engine.work_of(app, sandbox)
    done = work.bring_in(How.SQUASH if squash else How.MERGE)
    tell_merged(app, work, done, "merged")
