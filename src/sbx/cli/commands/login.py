# SPDX-License-Identifier: Apache-2.0
"""`sbx login`: there is no account; it sees to the network posture, and to logins of registries."""

from __future__ import annotations

import click

from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, out, talk
from sbx.cli.policy import posture
from sbx.cli.prompt import can_ask
from sbx.policy.presets import Preset
from sbx.store.rules import init_policy, read_policy

_POSTURES = {
    "open": Preset.ALLOW_ALL,
    "balanced": Preset.BALANCED,
    "locked-down": Preset.DENY_ALL,
    "allow-all": Preset.ALLOW_ALL,
    "deny-all": Preset.DENY_ALL,
}
_EXAMPLES = """
sbx login

# In a script
sbx login --policy balanced

# A registry, for kits and images that are not public
pass ghcr | sbx login --registry ghcr.io --username me --password-stdin

# The same by a browser on another machine
sbx login --registry registry.example.com --device --issuer https://sso.example.com --client-id sbx
"""


@click.command("login", cls=Command, examples=_EXAMPLES)
@click.option(
    "--policy", type=click.Choice(list(_POSTURES)), metavar="POSTURE",
    help="open, balanced or locked-down (also: allow-all, deny-all)",
)  # fmt: skip
@click.option("--registry", metavar="HOST", help="The registry to sign in to (default docker.io)")
@click.option("--username", metavar="USER", help="Its user name")
@click.option("--password-stdin", is_flag=True, help="Read its password from standard input")
@click.option("--device", is_flag=True, help="Sign in by a browser on any machine (RFC 8628)")
@click.option("--issuer", metavar="URL", help="The OpenID provider (setting login.issuer)")
@click.option("--client-id", metavar="ID", help="Our name there (setting login.clientId)")
@click.option("--scope", metavar="SCOPE", help="What is asked of it")
@format_options
@pass_app
def command(
    app: App,
    *,
    policy: str | None,
    registry: str | None,
    username: str | None,
    password_stdin: bool,
    device: bool,
    issuer: str | None,
    client_id: str | None,
    scope: str | None,
) -> None:
    """Choose the network policy if none is chosen. No account is needed for anything.

    Without --policy it asks on a terminal; elsewhere it says which policy is in force and succeeds.
    With --username or --device it also stores the login of a registry, for this host alone.
    """
    if device or password_stdin or username:
        from sbx.cli import registry_login as registries

        if device == password_stdin:
            raise click.UsageError("give either --device, or --username and --password-stdin")
        if device:
            by = registries.DeviceOptions(issuer=issuer, client_id=client_id, scope=scope)
            registries.by_device(app, registry, username, by)
        else:
            registries.by_password(app, registry, username)
    elif registry or issuer or client_id or scope:
        raise click.UsageError("add --device, or --username and --password-stdin")
    rules = read_policy(app.paths)
    wanted = None if policy is None else _POSTURES[policy]
    if rules is None:
        if wanted is None and can_ask(app):
            wanted = posture.ask()
        if wanted is not None:
            posture.choose(app, wanted)
    elif wanted is not None and wanted is not rules.preset:
        init_policy(app.paths, wanted)  # says how to choose again
    _show(app, wanted if rules is None else rules.preset)


def _show(app: App, preset: Preset | None) -> None:
    from sbx.secret.registries import host_logins

    logins = host_logins(app.paths)
    if app.format is not Format.TABLE:
        row: dict[str, Json] = {"account": None, "policy": None, "posture": None}
        if preset is not None:
            row |= {"policy": preset.value, "posture": preset.posture}
        row["registries"] = [{"registry": e.name, "username": e.username} for e in logins]
        emit(app, row)
        return
    out("✓ No account is needed")
    for entry in logins:
        out(
            f"Registry: {clean(entry.name)}"
            + (f" as {clean(entry.username)}" * bool(entry.username))
        )
    if preset is None:
        out("Network policy: none chosen, everything is denied")
        talk("Run: sbx policy init balanced (or allow-all, or deny-all)")
    else:
        out(f"Network policy: {preset.posture} ({preset})")
