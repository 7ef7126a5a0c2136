# SPDX-License-Identifier: Apache-2.0
"""`sbx logout`: ends the logins of registries; there is no account to sign out of."""

from __future__ import annotations

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, out, talk, warn

_EXAMPLES = """
sbx logout

sbx logout --registry ghcr.io
"""


@click.command("logout", cls=Command, examples=_EXAMPLES)
@click.option("--registry", metavar="HOST", help="Only of this registry")
@click.option("-f", "--force", "-y", "--yes", "force", is_flag=True, help="For older scripts")
@format_options
@pass_app
def command(app: App, registry: str | None, force: bool) -> None:
    """Forget the logins of registries. Sandboxes, policy and other secrets stay as they are.

    Tokens of a provider are revoked there, if it lets us. Without a login it succeeds as well.
    """
    from sbx.secret.registries import canonical, end_logins, host_logins

    del force
    found = tuple(
        entry
        for entry in host_logins(app.paths)
        if registry is None or canonical(entry.name) == canonical(registry)
    )
    not_told, left = end_logins(app.paths, found)
    for entry in not_told:
        warn(f"the provider of {clean(entry.name)} was not told: its tokens end by themselves")
    for entry in left:
        warn(f"the keychain still holds the login of {clean(entry.name)}: it does not answer")
    if app.format is not Format.TABLE:
        rows: list[Json] = [{"registry": e.name, "username": e.username} for e in found]
        emit(app, {"account": None, "registries": rows})
        return
    for entry in found:
        out(f"✓ Signed out of {clean(entry.name)}")
    if not found:
        out("✓ Not signed in: no account is needed")
        talk("To remove everything that sbx has stored, run: sbx reset")
