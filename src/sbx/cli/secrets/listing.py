# SPDX-License-Identifier: Apache-2.0
"""`sbx secret ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sbx.cli import secret_views as views
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, quiet_option, sandbox_names
from sbx.cli.output import clean, emit, out
from sbx.cli.secrets.options import (
    global_option,
    sandbox_option,
    scoped,
    service_names,
)

if TYPE_CHECKING:
    from sbx.secret.entries import Entry


@click.command(
    "ls", examples="sbx secret ls\nsbx secret ls --sandbox my-sandbox --json", cls=Command
)
@click.argument("names", metavar="[SANDBOX]", nargs=-1, shell_complete=sandbox_names)
@global_option
@sandbox_option
@click.option(
    "--service", metavar="SERVICE", help="Only of this service", shell_complete=service_names
)
@format_options
@quiet_option("Print only the names, one per line")
@pass_app
def command(
    app: App,
    *,
    names: tuple[str, ...],
    everywhere: bool,
    sandbox: str | None,
    service: str | None,
    quiet: bool,
) -> None:
    """List secrets; values are masked."""
    from sbx.secret.entries import Kind, read_entries

    scope, _rest = scoped((*names, ""), sandbox, everywhere=everywhere)
    found = [
        e
        for e in sorted(read_entries(app.paths), key=lambda e: (e.sandbox or "", e.name))
        if (scope is None or e.sandbox == scope)
        and (not everywhere or e.sandbox is None)
        and (service is None or (e.kind is Kind.SERVICE and e.name == service.lower()))
    ]
    custom = [e for e in found if e.kind is Kind.CUSTOM]
    plain = [e for e in found if e.kind is not Kind.CUSTOM]
    if app.format is not Format.TABLE:
        emit(app, views.document(plain, custom, env_only=_env_only(found)))
    elif quiet:
        for entry in found:
            out(clean(entry.name))
    elif found:
        views.tables(plain, custom)
    else:
        out(f'No secrets found for scope "{clean(scope)}"' if scope else "No secrets found")


def _env_only(found: list[Entry]) -> int:
    """Services whose key is only in a variable of the host, where it counts for nothing."""
    import os

    from sbx.credential.services import HOST_VARIABLES

    names = {entry.name for entry in found}
    return sum(
        name not in names and any(os.environ.get(v) for v in variables)
        for name, variables in HOST_VARIABLES.items()
    )
