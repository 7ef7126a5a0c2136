# SPDX-License-Identifier: Apache-2.0
"""`sbx push`: the user's branches, as they are now, into a sandbox."""

from __future__ import annotations

import os
import tempfile

import click

from sbx.agent.session import EndKind, ExecRequest, Session, Streams
from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import clean, emit, out
from sbx.cli.progress import Steps
from sbx.errors import PermanentError

_EXAMPLES = """
sbx push shell-myproject-fix-login

# Inside, the agent then has them as host/NAME
sbx exec shell-myproject-fix-login git merge host/main
"""


@click.command("push", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", shell_complete=sandbox_names)
@format_options
@pass_app
def command(app: App, sandbox: str) -> None:
    """Let a sandbox in branch or clone mode have your branches as they are now, as host/NAME.

    Nothing that is checked out inside changes. A stopped sandbox is started.
    """
    engine.begin(app)
    inside, lines = engine.host_branches(app, sandbox)
    with Steps(quiet=app.format is not Format.TABLE) as progress:
        engine.start(app, sandbox, progress)
    argv = ("git", f"--git-dir={inside}", "update-ref", "-z", "--stdin")
    with engine.session(app, sandbox) as lease, tempfile.TemporaryFile() as source:
        source.write(lines)
        source.seek(0)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            streams = Streams(stdin=source.fileno(), stdout=null, stderr=2)
            end = Session(lease.sock, watch=lease.watch).exec(ExecRequest(argv=argv), streams)
        finally:
            os.close(null)
    if end.kind is not EndKind.EXITED or end.status != 0:
        raise PermanentError(f"sandbox `{sandbox}` did not take the branches", details=end.message)
    count = lines.count(b"update ")
    if app.format is Format.TABLE:
        out(f"✓ {count} branches are in sandbox {clean(sandbox)} as host/NAME")
    else:
        emit(app, {"action": "pushed", "sandbox": sandbox, "branches": count})
