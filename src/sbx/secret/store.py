# SPDX-License-Identifier: Apache-2.0
"""Setting, finding and removing secrets: entries and values change together, under one lock."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sbx.credential.values import Value, mask
from sbx.errors import ConflictError, NotFoundError, SbxError
from sbx.secret.entries import Entry, Kind, Source, change, locked, read_entries
from sbx.secret.references import fetch
from sbx.secret.vaults import FileVault, best_vault, open_vault
from sbx.store.paths import Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What was stored."""

    entry: Entry
    in_file: bool  # there was no keychain


def new_entry(kind: Kind, name: str, *, sandbox: str | None = None) -> Entry:
    """An entry to fill in with `dataclasses.replace`."""
    return Entry(
        id=uuid.uuid4().hex, kind=kind, name=name, sandbox=sandbox, created_at=datetime.now(UTC)
    )


def save(where: Paths, entry: Entry, value: Value | None, *, overwrite: bool) -> Saved:
    """Store a secret; `value` is None for one that is fetched when needed.

    Raises:
        ConflictError: there is one of that name in that scope, and `overwrite` is false.
        PermanentError, TransientError, HostError: it cannot be stored; nothing was changed.
    """
    with locked(where):
        old = [e for e in read_entries(where) if _same(e, entry)]
        if old and entry.kind is Kind.CUSTOM:
            raise ConflictError(
                f'custom secret env "{entry.name}" already exists in scope '
                f"{old[0].sandbox or 'global'} with placeholder {old[0].placeholder}",
                hint=f"First run: sbx secret rm --placeholder {old[0].placeholder}",
            )
        if old and not overwrite:
            raise ConflictError(
                f"there is a secret already: {entry.name} {old[0].scope}",
                hint="Overwrite it with -f",
            )
        in_file = False
        if value is not None:
            vault = best_vault(where)
            in_file = isinstance(vault, FileVault)
            vault.set(entry.id, value)
            entry = replace(entry, vault=vault.kind, mask=entry.mask or mask(value))
        change(where, lambda all_: (*(e for e in all_ if not _same(e, entry)), entry))
        _forget_values(where, old)
    return Saved(entry=entry, in_file=in_file)


def remove(where: Paths, gone: Iterable[Entry]) -> tuple[Entry, ...]:
    """Remove secrets and their values; returns those whose values the keychain still has.

    Raises:
        PermanentError, HostError: as `read_entries`, or a file cannot be written.
    """
    ids = {entry.id for entry in gone}
    with locked(where):
        found = [e for e in read_entries(where) if e.id in ids]
        change(where, lambda all_: tuple(e for e in all_ if e.id not in ids))
        return _forget_values(where, found)


def renew_value(where: Paths, entry: Entry, value: Value) -> None:
    """Replace the value of a secret that is still there; whoever follows the list reads it anew.

    Raises:
        PermanentError, TransientError, HostError: as `save`.
    """
    with locked(where):
        if entry.vault is None or entry not in read_entries(where):
            return  # removed, or set anew, meanwhile
        open_vault(where, entry.vault).set(entry.id, value)
        change(where, lambda entries: entries)


def drop_sandbox(where: Paths, sandbox: str) -> None:
    """Forget the secrets of a sandbox that is gone."""
    if gone := [e for e in read_entries(where) if e.sandbox == sandbox]:
        remove(where, gone)


def exists(where: Paths, entry: Entry) -> bool:
    """Whether a secret of that name is in that scope."""
    return any(_same(other, entry) for other in read_entries(where))


def read_value(where: Paths, entry: Entry) -> Value:
    """The value of a secret, from where it is kept or from whoever keeps it.

    Raises:
        NotFoundError: the value is gone.
        SbxError: it cannot be had now.
    """
    if entry.source in (Source.REF, Source.COMMAND):
        return fetch(entry)
    found = open_vault(where, entry.vault).get(entry.id) if entry.vault else None
    if found is None:
        raise NotFoundError(
            f"the value of secret `{entry.name}` is gone",
            hint=f"Set it again: sbx secret set {entry.name}",
        )
    return found


def _same(one: Entry, other: Entry) -> bool:
    """Whether one takes the place of the other; key and login of a service are two."""
    return _place(one) == _place(other)


def _place(entry: Entry) -> tuple[object, ...]:
    is_login = entry.source is Source.OAUTH
    return (entry.kind, entry.name, entry.sandbox, entry.host_only, is_login)


def _forget_values(where: Paths, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Delete values whose entries are gone; returns those that cannot be reached now."""
    left: list[Entry] = []
    for entry in entries:
        if entry.vault is None:
            continue
        try:
            open_vault(where, entry.vault).delete(entry.id)
        except SbxError:
            left.append(entry)
    return tuple(left)
