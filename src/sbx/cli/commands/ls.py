# SPDX-License-Identifier: Apache-2.0
"""`sbx ls`: all sandboxes, answered within a bound even when one of them is wedged."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sbx.cli import engine, views
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, quiet_option
from sbx.cli.output import emit, out, table, talk, warn
from sbx.sandbox.status import SandboxStatus

_HEADERS = ("SANDBOX", "AGENT", "STATUS", "PORTS", "WORKSPACE")
_BRANCH = "BRANCH"  # only where there is one; the last column stays the workspace
_EXAMPLES = """
sbx ls

# The names alone
sbx ls -q

# The sandboxes that run
sbx ls --json | jq '.[] | select(.status == "running") | .name'
"""


@click.command("ls", cls=Command, examples=_EXAMPLES)
@format_options
@quiet_option("Print only the names, one per line")
@pass_app
def command(app: App, quiet: bool) -> None:
    """List sandboxes."""
    engine.begin(app)
    survey = engine.survey(app)
    found = survey.sandboxes
    for error in survey.damaged.values():
        warn(f"{error.message} ({error.hint})" if error.hint else error.message)
    if app.format is not Format.TABLE:
        emit(app, [views.row(one) for one in found], wrap="sandboxes")
    elif quiet:
        for one in found:
            out(one.spec.name)
    elif found:
        out(_table(found))
    else:
        out("No sandboxes found.")
        talk("To launch one in the current folder, run: sbx run shell .")


def _table(found: Sequence[SandboxStatus]) -> str:
    rows = [views.cells(one) for one in found]
    if not any(one.spec.git for one in found):
        return table(_HEADERS, rows)
    for one, row in zip(found, rows, strict=True):
        row.insert(-1, views.branch_cell(one))
    return table((*_HEADERS[:-1], _BRANCH, _HEADERS[-1]), rows)
