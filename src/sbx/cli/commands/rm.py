# SPDX-License-Identifier: Apache-2.0
"""`sbx rm`: remove sandboxes, after a question."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from sbx.cli import engine, views
from sbx.cli.actions import each
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import Json, emit, out
from sbx.cli.prompt import confirm
from sbx.cli.wayback import warn_of_losses
from sbx.errors import SbxError

_EXAMPLES = """
sbx rm shell-myproject

# Without a question, in a script
sbx rm -f shell-myproject

# All of them
sbx rm --all
"""


@click.command("rm", cls=Command, examples=_EXAMPLES)
@click.argument("sandboxes", metavar="[SANDBOX...]", nargs=-1, shell_complete=sandbox_names)
@click.option("--all", "everything", is_flag=True, help="Remove all sandboxes")
@click.option(
    "-f", "--force", is_flag=True, help="Do not ask, and remove also where sessions are open"
)
@click.option("--delete-branch", is_flag=True, help="Delete the branch of branch mode, too")
@format_options
@pass_app
@click.pass_context
def command(
    ctx: click.Context, app: App, *, sandboxes: tuple[str, ...], everything: bool, force: bool,
    delete_branch: bool,
) -> ExitStatus:  # fmt: skip
    """Remove sandboxes with their disks. Workspaces on the host stay.

    In branch mode the worktree goes and the branch stays. What would be lost is said first.
    """
    if everything == bool(sandboxes):
        raise click.UsageError("name at least one sandbox, or use --all, but not both", ctx)
    engine.begin(app)
    names = _all_names(app) if everything else list(dict.fromkeys(sandboxes))
    present = [name for name in names if _exists(app, name)]
    for name in present:
        warn_of_losses(app, name, delete_branch=delete_branch)
    if present and not force and app.settings.flag("cli.confirmRemove"):
        _confirm(app, present, everything=everything)
    if not names:
        _nothing(app)
    return (
        each(app, names, lambda name: _remove(app, name, force=force, delete_branch=delete_branch))
        if names
        else ExitStatus.OK
    )


def _all_names(app: App) -> list[str]:
    survey = engine.survey(app)
    return sorted({*(one.spec.name for one in survey.sandboxes), *survey.damaged})


def _exists(app: App, name: str) -> bool:
    try:
        return engine.find(app, name) is not None
    except SbxError:
        return True  # damaged, but there


def _confirm(app: App, names: Sequence[str], *, everything: bool) -> None:
    what = (
        f"sandbox {names[0]}" if len(names) == 1 else f"{len(names)} sandboxes ({', '.join(names)})"
    )
    target = "--all" if everything else shlex.join(names)
    confirm(
        app, f"Remove {what} with all files outside the workspace?", instead=f"sbx rm -f {target}"
    )


def _nothing(app: App) -> None:
    if app.format is Format.TABLE:
        out("No sandboxes found.")
    else:
        emit(app, [])


def _remove(app: App, name: str, *, force: bool, delete_branch: bool) -> dict[str, Json]:
    sandbox_id = _id(app, name)
    engine.remove(app, name, force=force, delete_branch=delete_branch)
    if app.format is Format.TABLE:
        out(f"✓ Removed sandbox {name}")
    return views.action("removed", name, sandbox_id=sandbox_id)


def _id(app: App, name: str) -> str | None:
    try:
        one = engine.find(app, name)
    except SbxError:
        return None
    return None if one is None else one.spec.id
