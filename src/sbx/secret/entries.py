# SPDX-License-Identifier: Apache-2.0
"""What is known about each secret, without its value: one versioned file, `secrets.json`.

Changes are made under a lock, atomically, and never to a file that is not understood.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sbx.errors import PermanentError
from sbx.store.documents import read_document, write_document
from sbx.store.paths import Paths, make_private
from sbx.system.locks import hold_lock

SECRETS = "secrets.json"
_VERSION = 1
_LIMIT_BYTES = 8 << 20
_LOCK = "secrets.lock"


class Kind(StrEnum):
    """What a secret is for."""

    SERVICE = "service"
    CUSTOM = "custom"
    REGISTRY = "registry"


class Source(StrEnum):
    """Where its value comes from."""

    VALUE = "value"  # kept by us
    REF = "ref"  # a password manager's URI
    COMMAND = "command"  # the output of a command
    OAUTH = "oauth"  # tokens of a login, kept by us and renewed


class VaultKind(StrEnum):
    """Where a kept value is."""

    KEYCHAIN = "keychain"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One secret."""

    id: str  # under which the value is kept
    kind: Kind
    name: str  # the service, the variable, or the registry's host
    sandbox: str | None = None  # None: all sandboxes
    host_only: bool = False  # of a registry: not for sandboxes
    source: Source = Source.VALUE
    vault: VaultKind | None = None  # for VALUE and OAUTH
    reference: str = ""  # for REF and COMMAND
    refresh_s: float | None = None  # how long a fetched value counts; None: fetched each time
    mask: str = ""  # as it is shown
    placeholder: str = ""  # of a custom secret
    hosts: tuple[str, ...] = ()  # of a custom secret
    username: str = ""  # of a registry
    auth_endpoint: str = ""  # of a registry
    created_at: datetime

    @property
    def scope(self) -> str:
        """As lists show it."""
        return "(host only)" if self.host_only else self.sandbox or "(global)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    entries: tuple[Entry, ...]


def read_entries(where: Paths) -> tuple[Entry, ...]:
    """All secrets.

    Raises:
        PermanentError: the file is damaged, or of a newer version.
    """
    stored = read_document(
        where.config / SECRETS,
        _Stored,
        version=_VERSION,
        limit_bytes=_LIMIT_BYTES,
        damaged=_damaged,
    )
    return () if stored is None else stored.entries


@contextmanager
def locked(where: Paths) -> Generator[None]:
    """Hold the lock under which values and entries are changed together."""
    make_private(where)
    with hold_lock(where.config / _LOCK):
        yield


def change(where: Paths, act: Callable[[tuple[Entry, ...]], tuple[Entry, ...]]) -> None:
    """Change the entries; the caller holds the lock.

    Raises:
        PermanentError: as `read_entries`.
        HostError: the file cannot be written.
    """
    stored = _Stored(entries=act(read_entries(where)))
    write_document(where.config / SECRETS, stored, version=_VERSION)


def _damaged(path: Path, why: str) -> PermanentError:
    return PermanentError(
        f"cannot read the list of secrets `{path}`: {why}",
        hint=f"Correct it, or move it away and set the secrets again: mv {path} {path}.damaged",
    )
