# SPDX-License-Identifier: Apache-2.0
"""`sbx secret import`: what variables of the host hold."""

from __future__ import annotations

import click

from sbx.cli.app import App
from sbx.cli.group import Command
from sbx.cli.options import pass_app
from sbx.cli.output import clean, out
from sbx.cli.prompt import ask_yes, can_ask
from sbx.cli.secrets.options import (
    service_names,
)
from sbx.cli.secrets.saving import report, save_entry
from sbx.errors import UserError


@click.command(
    "import", examples="sbx secret import --all\nsbx secret import github --dry-run", cls=Command
)
@click.argument("service", required=False, shell_complete=service_names)
@click.option("--all", "everything", is_flag=True, help="All that are found")
@click.option("--force", is_flag=True, help="Overwrite secrets that are there")
@click.option("--dry-run", is_flag=True, help="Only show what would be imported")
@pass_app
def command(app: App, service: str | None, everything: bool, force: bool, dry_run: bool) -> None:
    """Store the keys that variables of your environment hold, for all sandboxes.

    Variables alone count for nothing: a sandbox works only with what is stored.
    """
    import os

    from sbx.credential.services import HOST_VARIABLES
    from sbx.credential.values import check_value
    from sbx.secret.entries import Kind, Source, read_entries
    from sbx.secret.store import new_entry

    if service is not None and service not in HOST_VARIABLES:
        raise UserError(
            f'unknown service: "{clean(service)}"', hint=f"Use {', '.join(HOST_VARIABLES)}"
        )
    entries = [e for e in read_entries(app.paths) if e.kind is Kind.SERVICE and e.sandbox is None]
    there = {e.name for e in entries}
    logins = {e.name for e in entries if e.source is Source.OAUTH}
    count = 0
    for name, variables in HOST_VARIABLES.items():
        variable = next((v for v in variables if os.environ.get(v)), None)
        if variable is None or service not in (None, name):
            continue
        if name in logins or (name in there and not force):
            out(f"Skipped {name}: there is a secret already")
            continue
        count += 1
        if dry_run:
            out(f"Would import {name} from {variable}")
        elif service or everything or _ask_each(app, name, variable):
            entry = new_entry(Kind.SERVICE, name)
            report(save_entry(app, entry, check_value(os.environ[variable]), force=True))
    if not count:
        out("Nothing to import")


def _ask_each(app: App, name: str, variable: str) -> bool:
    if not can_ask(app):
        raise UserError("no service is named", hint="Run: sbx secret import --all")
    return ask_yes(f"Import {name} from {variable}?")
