# SPDX-License-Identifier: Apache-2.0
"""Logins of container registries, for pulls and pushes that the host does itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from sbx.credential.tokens import Tokens, parse_tokens
from sbx.errors import SbxError
from sbx.secret.device import renew, revoke
from sbx.secret.entries import Entry, Kind, Source, read_entries
from sbx.secret.logins import LOCK, SHOWN
from sbx.secret.store import new_entry, read_value, remove, renew_value
from sbx.store.paths import Paths
from sbx.system.locks import hold_lock

DOCKER_HUB = "docker.io"
TOKEN_USER = "oauth2accesstoken"  # noqa: S105 - the user name under which registries take tokens
_ALIASES = {f"index.{DOCKER_HUB}": DOCKER_HUB, f"registry-1.{DOCKER_HUB}": DOCKER_HUB}
_RENEW_BEFORE_S = 120.0
Credentials = Callable[[str], tuple[str, str] | None]  # registry to user and password


def canonical(registry: str) -> str:
    """One name for each registry."""
    name = registry.strip().lower().removeprefix("https://").partition("/")[0]
    return _ALIASES.get(name, name)


def registry_entry(registry: str, username: str, *, with_tokens: bool) -> Entry:
    """What is known about a login for this host alone."""
    made = replace(new_entry(Kind.REGISTRY, canonical(registry)), host_only=True, username=username)
    return replace(made, source=Source.OAUTH, mask=SHOWN) if with_tokens else made


def host_logins(where: Paths) -> tuple[Entry, ...]:
    """Those that `sbx login` makes and `sbx logout` ends.

    Raises:
        PermanentError: the list of secrets cannot be read.
    """
    return tuple(e for e in read_entries(where) if e.kind is Kind.REGISTRY and e.host_only)


def stored_credentials(where: Paths) -> Credentials:
    """User and password of a registry, from what is stored; tokens are renewed in time.

    The function raises SbxError if they are stored and cannot be had.
    """

    def find(registry: str) -> tuple[str, str] | None:
        fits = [
            entry
            for entry in read_entries(where)
            if entry.kind is Kind.REGISTRY
            and entry.sandbox is None
            and canonical(entry.name) == canonical(registry)
        ]
        # One for this host beats one for all sandboxes, a password beats tokens.
        fits.sort(key=lambda entry: (not entry.host_only, entry.source is Source.OAUTH))
        if not fits:
            return None
        entry = fits[0]
        if entry.source is Source.OAUTH:
            return entry.username or TOKEN_USER, _tokens(where, entry).access.reveal()
        return entry.username, read_value(where, entry).reveal()

    return find


def end_logins(where: Paths, entries: tuple[Entry, ...]) -> tuple[list[Entry], list[Entry]]:
    """Forget logins; those of which no provider could be told, and those the keychain still has."""
    not_told: list[Entry] = []
    for entry in entries:
        if entry.source is Source.OAUTH and not _revoked(where, entry):
            not_told.append(entry)
    return not_told, list(remove(where, entries))


def _revoked(where: Paths, entry: Entry) -> bool:
    try:
        return revoke(_read(where, entry))
    except SbxError:
        return False  # its value is gone already


def _tokens(where: Paths, entry: Entry) -> Tokens:
    tokens = _read(where, entry)
    if not tokens.ends_within(_RENEW_BEFORE_S, time.time()):
        return tokens
    with hold_lock(where.config / LOCK):
        tokens = _read(where, entry)  # another process may have been faster
        if not tokens.ends_within(_RENEW_BEFORE_S, time.time()):
            return tokens
        tokens = renew(tokens)
        renew_value(where, entry, tokens.text())
        return tokens


def _read(where: Paths, entry: Entry) -> Tokens:
    return parse_tokens(read_value(where, entry).reveal())
