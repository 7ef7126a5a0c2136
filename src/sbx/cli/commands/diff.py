# SPDX-License-Identifier: Apache-2.0
"""`sbx diff`: what a sandbox changed since it started, and which of it would run on the host."""

from __future__ import annotations

import sys

import click

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import clean, emit, out
from sbx.cli.wayback import show_findings

_EXAMPLES = """
sbx diff shell-myproject-fix-login

# The files alone
sbx diff --stat shell-myproject-fix-login

# As a patch for somebody else
sbx diff shell-myproject-fix-login > fix.patch
"""


@click.command("diff", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", shell_complete=sandbox_names)
@click.option("--stat", is_flag=True, help="Show the changed files and how much of each")
@format_options
@pass_app
def command(app: App, sandbox: str, stat: bool) -> None:
    """Show what a sandbox in branch or clone mode changed since it started.

    What is not committed is included. Changed files that would run on the host, such as hooks,
    build files and editor tasks, are listed on standard error.
    """
    engine.begin(app)
    work = engine.work_of(app, sandbox)
    findings = work.findings()
    if app.format is Format.TABLE:
        _show(work.patch(summary=stat))
        show_findings(findings)
        return
    emit(
        app,
        {
            "sandbox": sandbox,
            "start": work.workspace.start,
            "tip": work.tip,
            "patch": work.patch(summary=stat),
            "review": [{"path": f.path, "reason": f.reason} for f in findings],
        },
    )


def _show(text: str) -> None:
    """A terminal gets no control bytes; a file or a pipe gets the patch as it is."""
    if sys.stdout.isatty():
        for line in text.split("\n"):
            out("\t".join(clean(part) for part in line.split("\t")))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
    sys.stdout.buffer.flush()
