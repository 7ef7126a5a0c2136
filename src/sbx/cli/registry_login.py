# SPDX-License-Identifier: Apache-2.0
"""Signing in to registries for pulls of the host: by password, or by a browser somewhere else."""

from __future__ import annotations

from dataclasses import dataclass

import click

from sbx.cli.app import App
from sbx.cli.output import clean, talk, warn
from sbx.cli.secret_input import piped_text
from sbx.errors import TransientError, UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """The provider, as the command line says it; None: as the settings do."""

    issuer: str | None
    client_id: str | None
    scope: str | None


def by_password(app: App, registry: str | None, username: str | None) -> None:
    """Store a password that the registry accepts.

    Raises:
        UserError: it does not, or none is given.
    """
    from sbx.credential.values import check_value
    from sbx.kit.registry import accepts
    from sbx.secret.registries import DOCKER_HUB, canonical, registry_entry
    from sbx.secret.store import save

    if not username:
        raise click.UsageError("--password-stdin needs --username USER")
    if ":" in username or not username.isprintable():
        raise UserError("a user name has no colon and no control character")
    host = canonical(registry or DOCKER_HUB)
    value = check_value(piped_text(instead="pass KEY | sbx login --username USER --password-stdin"))
    try:
        if not accepts(host, (username, value.reveal())):
            raise UserError(
                f"`{clean(host)}` does not let `{clean(username)}` in: nothing was stored"
            )
    except TransientError as error:
        warn(f"stored without a try: {error.message}")
    entry = registry_entry(host, username, with_tokens=False)
    _said(save(app.paths, entry, value, overwrite=True).in_file, host)


def by_device(app: App, registry: str | None, username: str | None, options: DeviceOptions) -> None:
    """Store the tokens that a provider gives out once the user has agreed in a browser.

    Raises:
        UserError: the user did not agree, or the provider is not known.
        SbxError: it refuses, or cannot be reached.
    """
    from sbx.secret import device
    from sbx.secret.registries import DOCKER_HUB, canonical, registry_entry
    from sbx.secret.store import save

    issuer = options.issuer or app.settings.text("login.issuer")
    client_id = options.client_id or app.settings.text("login.clientId")
    if not issuer or not client_id:
        raise UserError(
            "which OpenID provider, and under which client id?",
            hint="Add --issuer URL --client-id ID, or set login.issuer and login.clientId",
        )
    provider = device.find_provider(issuer)
    pending = device.begin(provider, client_id, options.scope or device.DEFAULT_SCOPE)
    talk(f"Open {clean(pending.address)} and enter the code {clean(pending.user_code)}")
    if pending.complete_address:
        talk(f"or open {clean(pending.complete_address)}")
    signed_in = device.wait(provider, client_id, pending)
    host = canonical(registry or DOCKER_HUB)
    entry = registry_entry(host, username or signed_in.user, with_tokens=True)
    _said(save(app.paths, entry, signed_in.tokens.text(), overwrite=True).in_file, host)


def _said(in_file: bool, host: str) -> None:
    from sbx.secret.vaults import NO_KEYCHAIN

    if in_file:
        warn(NO_KEYCHAIN)
    talk(f"✓ Signed in to {clean(host)}")
