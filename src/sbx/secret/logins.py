# SPDX-License-Identifier: Apache-2.0
"""The logins of one sandbox: their tokens are read from the vault, renewed in time, and kept there.

Several supervisors may hold the same login, and a token can be renewed once only: whoever renews
holds a lock between processes, and looks first whether another one was faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sbx.credential.logins import Login
from sbx.credential.tokens import Tokens, parse_tokens
from sbx.credential.values import Value
from sbx.errors import NotFoundError, PermanentError, TransientError
from sbx.secret.entries import Entry, Kind, Source
from sbx.secret.store import exists, new_entry, read_value, renew_value, save
from sbx.store.paths import Paths
from sbx.system.locks import hold_lock

RENEW_BEFORE_S = 120.0  # the end of an access token
_AGAIN_AFTER_S = 60.0  # a guest may ask for new tokens so often
SHOWN = "(oauth configured)"
LOCK = "logins.lock"
Renewer = Callable[[Login, Tokens], Awaitable[Tokens]]


def login_entry(service: str, sandbox: str | None = None) -> Entry:
    """What is known about a login, without its tokens."""
    made = new_entry(Kind.SERVICE, service, sandbox=sandbox)
    return replace(made, source=Source.OAUTH, mask=SHOWN)


class StoredLogins:
    """What is stored of logins, as one sandbox uses it."""

    def __init__(self, where: Paths, sandbox: str, logins: Sequence[Login]) -> None:
        self._where = where
        self._sandbox = sandbox
        self.by_service = {login.service: login for login in logins}
        self.renewer: Renewer | None = None  # asks the token endpoint
        self._entries: dict[str, Entry] = {}
        self._tokens: dict[str, Tokens] = {}  # by service, as they were read last
        self._renewed: dict[str, float] = {}  # of the monotonic clock
        self._renewing = asyncio.Lock()

    def follow(self, entries: Sequence[Entry]) -> None:
        """Take over what is stored now; the sandbox's own beats what is for all."""
        fits = [e for e in entries if e.kind is Kind.SERVICE and e.source is Source.OAUTH]
        self._entries = {
            e.name: e for e in fits if e.sandbox is None and e.name in self.by_service
        } | {e.name: e for e in fits if e.sandbox == self._sandbox and e.name in self.by_service}
        self._tokens.clear()

    @property
    def present(self) -> tuple[Login, ...]:
        """Those that somebody is logged in with."""
        return tuple(self.by_service[name] for name in self._entries)

    async def access(self, service: str) -> Value:
        """An access token that is good for a while.

        Raises:
            SbxError: there is none.
        """
        tokens = await self.tokens(service)
        if tokens.ends_within(RENEW_BEFORE_S, time.time()) and tokens.refresh is not None:
            tokens = await self.renew(service, forced=False)
        return tokens.access

    async def tokens(self, service: str) -> Tokens:
        """The tokens as they are stored.

        Raises:
            NotFoundError: nobody is logged in.
            SbxError: they cannot be had now.
        """
        entry = self._entries.get(service)
        if entry is None:
            raise NotFoundError(f"nobody is logged in with {service}")
        found = self._tokens.get(service)
        if found is None:
            found = self._tokens[service] = await asyncio.to_thread(self._read, entry)
        return found

    async def renew(self, service: str, *, forced: bool) -> Tokens:
        """New tokens; `forced` if those that are stored were refused.

        Raises:
            NotFoundError: nobody is logged in.
            PermanentError: the login is over.
            SbxError: they cannot be had now.
        """
        async with self._renewing:
            had = await self.tokens(service)
            entry = self._entries[service]
            async with _held(self._where.config / LOCK):
                stored = await asyncio.to_thread(self._read, entry)
                self._tokens[service] = stored
                if not self._is_due(service, had, stored, forced=forced):
                    return stored
                if stored.refresh is None or self.renewer is None:
                    raise PermanentError(
                        f"the login with {service} has ended", hint="Log in again in the sandbox"
                    )
                new = await self.renewer(self.by_service[service], stored)
                await asyncio.to_thread(renew_value, self._where, entry, new.text())
                self._tokens[service] = new
                self._renewed[service] = time.monotonic()
                return new

    async def keep(self, login: Login, tokens: Tokens) -> None:
        """Store a new login: for all sandboxes, unless there is one for all already.

        One sandbox can so give itself another account, and no other sandbox.

        Raises:
            SbxError: it cannot be stored.
        """
        await asyncio.to_thread(self._save, login, tokens)

    def _save(self, login: Login, tokens: Tokens) -> None:
        entry = login_entry(login.service)
        if exists(self._where, entry):
            entry = replace(entry, sandbox=self._sandbox)
        save(self._where, entry, tokens.text(), overwrite=True)

    def _is_due(self, service: str, had: Tokens, stored: Tokens, *, forced: bool) -> bool:
        if stored.ends_within(RENEW_BEFORE_S, time.time()):
            return True
        if not forced or stored != had:  # another one was faster
            return False
        return time.monotonic() - self._renewed.get(service, -_AGAIN_AFTER_S) >= _AGAIN_AFTER_S

    def _read(self, entry: Entry) -> Tokens:
        try:
            return parse_tokens(read_value(self._where, entry).reveal())
        except NotFoundError:
            raise
        except OSError as error:
            raise TransientError(f"the tokens of {entry.name} cannot be read") from error


@contextlib.asynccontextmanager
async def _held(path: Path) -> AsyncGenerator[None]:
    """Hold a lock between processes without holding up the event loop."""
    stack = contextlib.ExitStack()
    taking = asyncio.ensure_future(asyncio.to_thread(stack.enter_context, hold_lock(path)))
    try:
        await asyncio.shield(taking)
        yield
    except asyncio.CancelledError:
        if not taking.done():  # the thread takes it all the same
            taking.add_done_callback(lambda _: stack.close())
        raise
    finally:
        if taking.done():
            stack.close()
