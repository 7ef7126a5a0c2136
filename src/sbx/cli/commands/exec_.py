# SPDX-License-Identifier: Apache-2.0
"""`sbx exec`: one command in a sandbox, its bytes and its exit status untouched."""

from __future__ import annotations

import click

from sbx.cli import attach, engine
from sbx.cli.app import App
from sbx.cli.environment import collect
from sbx.cli.group import CommandLine
from sbx.cli.options import env_options, pass_app, sandbox_names
from sbx.cli.output import clean, talk
from sbx.errors import UserError

_EXAMPLES = """
sbx exec shell-myproject uname -a

# A second shell beside the one that is open
sbx exec -it shell-myproject bash

# As root, elsewhere, with a variable
sbx exec -u root -w /etc -e DEBUG=1 shell-myproject ls

# Pipes are byte-exact
tar c src | sbx exec shell-myproject tar x -C /tmp
"""


@click.command("exec", cls=CommandLine, examples=_EXAMPLES)
@click.argument("sandbox", metavar="SANDBOX", shell_complete=sandbox_names)
@click.argument("argv", metavar="COMMAND [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "-i", "--interactive", is_flag=True, help="Accepted; standard input is always attached"
)
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal (TERM=xterm-256color)")
@click.option(
    "-u", "--user", metavar="NAME|UID[:GROUP]", help="The user to run as (default: agent)"
)
@click.option(
    "-w", "--workdir", metavar="DIR", help="The folder to start in (default: the workspace)"
)
@click.option(
    "--privileged", is_flag=True, help="Accepted; root in a sandbox has all privileges there anyway"
)
@click.option(
    "-d", "--detach", is_flag=True, help="Refused: start it with `&` in a shell inside instead"
)
@attach.detach_option
@env_options
@pass_app
def command(
    app: App, *, sandbox: str, argv: tuple[str, ...], user: str | None, workdir: str | None,
    interactive: bool, tty: bool, privileged: bool, detach: bool, detach_keys: str | None,
    env: tuple[str, ...], env_files: tuple[str, ...],
) -> int:  # fmt: skip
    """Run a command in a sandbox, which is started if it is stopped.

    Flags end at COMMAND: what follows is passed on as it is, without a shell. A `--` before
    COMMAND is dropped. The exit status is the command's, 128+N if signal N ended it, 127 if it is
    not there, 126 if it cannot be run.
    """
    if detach:
        raise UserError(
            "`exec --detach` is not supported",
            hint=f"Run: sbx exec {sandbox} sh -c 'COMMAND >/tmp/log 2>&1 &'",
        )
    engine.begin(app)
    wanted = attach.Wanted(
        argv=argv,
        env=collect(env, env_files),
        user=user,
        workdir=workdir,
        tty=tty,
        keys=attach.detach_keys(app, detach_keys) if tty or detach_keys is not None else b"",
    )
    ended = attach.attach(app, sandbox, wanted)
    if ended.detached:
        talk(f"Detached; the command goes on in sandbox {clean(sandbox)}")
    return ended.status
