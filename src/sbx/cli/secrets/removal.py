# SPDX-License-Identifier: Apache-2.0
"""`sbx secret rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sbx.cli import secret_views as views
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, out, warn
from sbx.cli.prompt import confirm
from sbx.cli.secrets.options import (
    global_option,
    one_of,
    sandbox_option,
    scoped,
    service_names,
)
from sbx.cli.secrets.saving import enforce
from sbx.errors import NotFoundError

if TYPE_CHECKING:
    from sbx.secret.entries import Entry


@click.command("rm", examples="sbx secret rm anthropic\nsbx secret rm --all -f", cls=Command)
@click.argument("names", metavar="[SERVICE]", nargs=-1, shell_complete=service_names)
@sandbox_option
@global_option
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@click.option("--all", "everything", is_flag=True, help="All secrets, or all of the sandbox")
@click.option("--registry", metavar="HOST", help="The login of a registry")
@click.option("--placeholder", metavar="TEXT", help="The custom secret with this placeholder")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="With --env: one of its hosts")
@click.option("--env", "variable", metavar="VAR", help="The custom secret in this variable")
@format_options
@pass_app
def command(
    app: App,
    *,
    names: tuple[str, ...],
    sandbox: str | None,
    everywhere: bool,
    force: bool,
    everything: bool,
    registry: str | None,
    placeholder: str | None,
    hosts: tuple[str, ...],
    variable: str | None,
) -> None:
    """Remove secrets. Running sandboxes lose them at once."""
    from sbx.secret.entries import Kind, read_entries
    from sbx.secret.store import remove

    scope, rest = scoped(names, sandbox, everywhere=everywhere)
    service = rest[0].lower() if rest else None
    chosen = one_of(
        {
            "SERVICE": service,
            "--all": "all" if everything else None,
            "--registry": registry,
            "--placeholder": placeholder,
            "--env": variable,
        },
        needed=True,
    )

    def fits(entry: Entry) -> bool:
        match chosen:
            case "--all":
                return scope is None or entry.sandbox == scope
            case "SERVICE":
                return (entry.kind, entry.name, entry.sandbox) == (Kind.SERVICE, service, scope)
            case "--registry":
                return (entry.kind, entry.name, entry.sandbox) == (Kind.REGISTRY, registry, scope)
            case "--placeholder":
                return entry.kind is Kind.CUSTOM and entry.placeholder == placeholder
            case _:
                return (entry.kind, entry.name, entry.sandbox) == (
                    Kind.CUSTOM, variable, scope,
                ) and set(hosts) <= set(entry.hosts)  # fmt: skip

    found = [entry for entry in read_entries(app.paths) if fits(entry)]
    if not found and chosen != "--all":
        raise NotFoundError("no such secret", hint="Run: sbx secret ls")
    if found and not force:
        what = ", ".join(sorted({entry.name for entry in found}))
        confirm(app, f"Delete {len(found)} secret(s): {what}?", instead="sbx secret rm … -f")
    for entry in remove(app.paths, found):
        warn(f"the keychain still holds the value of {clean(entry.name)}: it does not answer")
    enforce(app)
    _print_deleted(app, found)


def _print_deleted(app: App, found: list[Entry]) -> None:
    if app.format is not Format.TABLE:
        rows: list[Json] = [
            {"action": "removed", "resource": "secret", "name": e.name, "scope": views.scope(e)}
            for e in found
        ]
        emit(app, rows)
        return
    for entry in found:
        out(f"Deleted {clean(entry.name)} {views.where(entry)}")
    if not found:
        out("No secrets found")
