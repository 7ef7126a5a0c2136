# SPDX-License-Identifier: Apache-2.0
"""`sbx reset`: back to the state before the first use."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, emit, note, out, talk
from sbx.cli.prompt import confirm
from sbx.lifecycle.caches import stop_building
from sbx.store import records
from sbx.store.paths import Paths

_KEPT_IN_CACHE = (
    "venv"  # the environment that a source checkout, and so this very program, runs from
)
_EXAMPLES = """
sbx reset

# Without a question, in a script
sbx reset -f
"""


@click.command("reset", cls=Command, examples=_EXAMPLES)
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@click.option("--preserve-secrets", is_flag=True, help="Keep secrets (this version stores none)")
@format_options
@pass_app
def command(app: App, force: bool, preserve_secrets: bool) -> None:
    """Remove all sandboxes, images, settings and state. Workspaces on the host stay."""
    from sbx.lifecycle.prune import remove_all

    engine.begin(app)
    where = app.paths
    if not force:
        which = "" if app.app_name is None else f" --app-name {app.app_name}"
        question = "Remove all sandboxes with their files, all images, settings and state?"
        confirm(app, question, instead=f"sbx{which} reset -f")
    removed = remove_all(where)
    for name in removed:
        talk(f"✓ Removed sandbox {name}")
    others = _others_with_sandboxes(where)
    if app.app_name is not None:
        note("images are kept: all sets of sandboxes share them")
    elif others:
        note(f"images are kept: sandboxes of {', '.join(others)} use them")
    else:
        stop_building(where.cache)
        _empty(where.cache, keep=_KEPT_IN_CACHE)
    for folder in (where.runtime, where.config, where.state):
        shutil.rmtree(folder, ignore_errors=True)
    if app.format is Format.TABLE:
        out("✓ Reset complete")
    else:
        rows: list[Json] = [
            {"action": "removed", "resource": "sandbox", "name": n} for n in removed
        ]
        emit(app, {"removed": rows, "images_removed": not others and app.app_name is None})


def _others_with_sandboxes(where: Paths) -> list[str]:
    """Other sets of sandboxes (`--app-name`) that share the cache and are not empty."""
    from sbx.lifecycle.base import installations

    others = (one for one in installations(where) if one.state != where.state)
    return [one.state.name for one in others if records.names(one)]


def _empty(folder: Path, *, keep: str) -> None:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.name == keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
