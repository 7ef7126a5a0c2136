# SPDX-License-Identifier: Apache-2.0
"""The credentials of one sandbox, as its supervisor has them: bindings, and values when needed.

What is bound follows the file of entries; `refresh` is cheap when nothing changed. A list that
cannot be read keeps the hosts that were bound last bound, and gives out nothing: fails closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sbx.credential.binding import Binding
from sbx.credential.logins import LOGINS, Login
from sbx.credential.places import Place, Style
from sbx.credential.services import BY_NAME, PROXY_MANAGED
from sbx.credential.values import Value
from sbx.errors import NotFoundError, PermanentError
from sbx.secret.entries import SECRETS, Entry, Kind, Source, read_entries
from sbx.secret.logins import StoredLogins
from sbx.secret.store import read_value
from sbx.store.paths import Paths

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Fetched:
    value: Value
    until: float  # of the monotonic clock


class CredentialSource:
    """What one sandbox is given."""

    def __init__(
        self,
        where: Paths,
        sandbox: str,
        extra: Sequence[Binding] = (),
        logins: Sequence[Login] = LOGINS,
    ) -> None:
        self._where = where
        self._sandbox = sandbox
        self._extra = {binding.name: binding for binding in extra}  # services of its kits
        self.logins = StoredLogins(where, sandbox, logins)
        self._seen: tuple[int, ...] | None = None
        self._entries: dict[str, Entry] = {}
        self._values: dict[str, _Fetched] = {}
        self._fetching: dict[str, asyncio.Task[Value]] = {}
        self.bindings: tuple[Binding, ...] = ()
        self.problem: PermanentError | None = None  # why nothing is given out

    def refresh(self) -> bool:
        """Read the list if it changed; returns whether other credentials are bound now."""
        facts = self._facts()
        if facts == self._seen:
            return False
        self._seen = facts
        try:
            stored = read_entries(self._where)
            entries = chosen(stored, self._sandbox)
        except PermanentError as error:
            self.problem = error
            self._values.clear()
            self.logins.follow(())
            _LOG.error("%s", error.message)
            return False
        self.problem = None
        self.logins.follow(stored)
        self._entries = {entry.id: entry for entry in entries}
        self._values = {key: v for key, v in self._values.items() if key in self._entries}
        before, self.bindings = (
            self.bindings,
            tuple(binding for entry in entries if (binding := self._binding(entry)) is not None),
        )
        return before != self.bindings

    async def value(self, binding: Binding) -> Value:
        """The value of a credential that is bound.

        Raises:
            SbxError: it cannot be had now; nothing may be sent in its place.
        """
        if self.problem is not None:
            raise self.problem
        entry = self._entries.get(binding.id)
        if entry is None:
            raise NotFoundError(f"the secret `{binding.name}` was removed")
        if entry.source is Source.OAUTH:
            return await self.logins.access(entry.name)
        found = self._values.get(entry.id)
        if found is not None and time.monotonic() < found.until:
            return found.value
        task = self._fetching.get(entry.id)
        if task is None:  # one program for all requests that wait for the same value
            task = asyncio.ensure_future(asyncio.to_thread(read_value, self._where, entry))
            self._fetching[entry.id] = task
            task.add_done_callback(lambda _: self._fetching.pop(entry.id, None))
        value = await asyncio.shield(task)
        if (kept := _kept_s(entry)) and entry.id in self._entries:
            self._values[entry.id] = _Fetched(value, time.monotonic() + kept)
        return value

    def environment(self) -> dict[str, str]:
        """The variables of the sandbox: placeholders, and only of secrets that exist."""
        return {name: b.placeholder for b in reversed(self.bindings) for name in b.variables}

    def _binding(self, entry: Entry) -> Binding | None:
        if entry.kind is Kind.CUSTOM:
            return Binding(
                id=entry.id,
                name=entry.name,
                places=(Place(hosts=entry.hosts, style=Style.REPLACE),),
                placeholder=entry.placeholder,
                variables=(entry.name,),
            )
        if entry.source is Source.OAUTH:
            login = self.logins.by_service.get(entry.name)
            return None if login is None else login.binding(entry.id)
        if service := BY_NAME.get(entry.name):
            return Binding(
                id=entry.id,
                name=entry.name,
                places=service.places,
                placeholder=PROXY_MANAGED,
                variables=service.variables,
            )
        if extra := self._extra.get(entry.name):
            return Binding(
                id=entry.id,
                name=entry.name,
                places=extra.places,
                placeholder=extra.placeholder,
                variables=extra.variables,
            )
        return None

    def _facts(self) -> tuple[int, ...]:
        """What differs between two versions of the file: each is a new file, see `write_atomic`."""
        try:
            found = (self._where.config / SECRETS).stat()
        except OSError as error:
            return (error.errno or 0,)
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def chosen(entries: Sequence[Entry], sandbox: str) -> tuple[Entry, ...]:
    """The secrets that a sandbox gets: its own beat those for all, a key beats a login."""
    fits = [e for e in entries if e.kind is not Kind.REGISTRY and e.sandbox in (None, sandbox)]
    found: dict[tuple[Kind, str], Entry] = {}
    for entry in sorted(fits, key=lambda e: (e.source is Source.OAUTH, e.sandbox is None)):
        found.setdefault((entry.kind, entry.name), entry)
    return tuple(found.values())


def _kept_s(entry: Entry) -> float | None:
    """How long a value is kept in memory: one of ours changes only with its entry."""
    return entry.refresh_s if entry.source in (Source.REF, Source.COMMAND) else float("inf")
