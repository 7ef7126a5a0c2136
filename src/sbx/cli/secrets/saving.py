# SPDX-License-Identifier: Apache-2.0
"""Storing a secret, and telling running sandboxes and the user."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sbx.cli import secret_views as views
from sbx.cli.app import App
from sbx.cli.output import clean, out, warn
from sbx.cli.prompt import confirm

if TYPE_CHECKING:
    from sbx.credential.values import Value
    from sbx.secret.entries import Entry
    from sbx.secret.store import Saved


def referring(
    entry: Entry, ref: str | None, shell_command: str | None, refresh: str | None
) -> Entry:
    from sbx.secret.entries import Source
    from sbx.secret.references import (
        DEFAULT_REFRESH_S,
        check_command,
        check_reference,
        parse_refresh,
    )

    if ref is None and shell_command is None:
        if refresh is not None:
            raise click.UsageError("--refresh goes with --ref or --command")
        return entry
    kept = DEFAULT_REFRESH_S if refresh is None else parse_refresh(refresh)
    if ref is not None:
        return replace(entry, source=Source.REF, reference=check_reference(ref), refresh_s=kept)
    text = check_command(shell_command or "")
    return replace(entry, source=Source.COMMAND, reference=text, refresh_s=kept)


def may_overwrite(app: App, entry: Entry, *, force: bool) -> bool:
    from sbx.secret.store import exists

    if force or not exists(app.paths, entry):
        return force
    question = f"Overwrite the secret {entry.name} {views.where(entry)}?"
    confirm(app, question, instead="the same command with -f")
    return True


def save_entry(app: App, entry: Entry, value: Value | None, *, force: bool) -> Saved:
    from sbx.secret.store import save

    saved = save(app.paths, entry, value, overwrite=force)
    enforce(app)
    return saved


def enforce(app: App) -> None:
    """Return when running sandboxes have the change; one that does not answer follows by itself."""
    from sbx.lifecycle.enforce import enforce_policy

    for name, error in enforce_policy(app.paths).items():
        warn(f"sandbox {clean(name)} may not have the change yet: {error.message}")


def report(saved: Saved) -> None:
    from sbx.secret.vaults import NO_KEYCHAIN

    if saved.in_file:
        warn(NO_KEYCHAIN)
    out(f"✓ Stored {clean(saved.entry.name)} {views.where(saved.entry)}")
