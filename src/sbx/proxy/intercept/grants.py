# SPDX-License-Identifier: Apache-2.0
"""Which requests get which values, and what must never come back."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

from sbx.credential.binding import Binding, due
from sbx.credential.inject import Fields, Grant, strayed
from sbx.credential.logins import Login
from sbx.credential.scrub import Needles, needles
from sbx.credential.tokens import Tokens
from sbx.credential.values import Value
from sbx.errors import SbxError
from sbx.policy.hosts import Endpoint
from sbx.policy.paths import plain_path
from sbx.policy.rules import Decision, DenyKind
from sbx.proxy.intercept.leaves import Leaves, client_context

_MAX_USED = 64  # values whose echo is looked for; more come only from values that change


class Credentials(Protocol):
    """The credentials of a sandbox, and their values when they are needed."""

    @property
    def bindings(self) -> Sequence[Binding]:
        """What is bound now."""
        ...

    async def value(self, binding: Binding) -> Value:
        """The value (SbxError if it cannot be had)."""
        ...


class Logins(Protocol):
    """The logins of a sandbox; what fails there is an SbxError."""

    @property
    def by_service(self) -> dict[str, Login]:
        """All that are known."""
        ...

    async def tokens(self, service: str) -> Tokens:
        """The tokens as they are stored."""
        ...

    async def renew(self, service: str, *, forced: bool) -> Tokens:
        """New tokens; `forced` if those that are stored were refused."""
        ...

    async def keep(self, login: Login, tokens: Tokens) -> None:
        """Store a new login."""
        ...


class WithheldError(Exception):
    """A request is not sent: its placeholder is bound for a wrong place, or there is no value."""

    def __init__(self, why: str, binding: Binding, *, is_stray: bool) -> None:
        super().__init__(why)
        self.why = why
        self.binding = binding
        self.is_stray = is_stray


class Interception:
    """What intercepting takes: credentials, certificates for the guest, trust in servers."""

    def __init__(
        self,
        credentials: Credentials,
        leaves: Leaves,
        trust: Callable[[], ssl.SSLContext] = client_context,
        logins: Logins | None = None,
    ) -> None:
        self._credentials = credentials
        self.logins = logins
        self.leaves = leaves
        self._make_trust = trust
        self._used: OrderedDict[tuple[str, Value], Grant] = OrderedDict()
        self.needles = Needles(())  # what is taken out of every answer: all that was put in

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """What servers are checked against; made when the first one is."""
        return self._make_trust()

    def covers(self, to: Endpoint) -> bool:
        """Whether a credential is bound to some request there, or tokens are given out."""
        host = to.host
        return isinstance(host, str) and (
            any(binding.covers_host(host, to.port) for binding in self._credentials.bindings)
            or self.login_at(to) is not None
        )

    def login_at(self, to: Endpoint) -> Login | None:
        """The login whose tokens are given out there."""
        if self.logins is None:
            return None
        host, port = str(to.host), to.port
        return next((o for o in self.logins.by_service.values() if o.gives_at(host, port)), None)

    async def grants(
        self, to: Endpoint, method: str, target: str, fields: Fields
    ) -> tuple[Grant, ...]:
        """The values that a request over TLS gets.

        Raises:
            WithheldError: it must not be sent.
        """
        bindings = self._credentials.bindings
        found = due(bindings, str(to.host), to.port, method, target)
        stray = strayed(bindings, found, target, fields)
        if stray is not None:
            raise WithheldError(_astray(stray, to), stray, is_stray=True)
        grants: list[Grant] = []
        for each in found:
            if refused := each.binding.refused_paths:
                path = plain_path(target)
                if path is None or path.rstrip("/").lower() in refused:
                    raise WithheldError(_greedy(each.binding, to), each.binding, is_stray=True)
            try:
                value = await self._credentials.value(each.binding)
            except SbxError as error:
                raise WithheldError(error.message, each.binding, is_stray=False) from error
            grants.append(Grant(due=each, value=value))
        self._remember(grants)
        return tuple(grants)

    def strays(self, to: Endpoint, target: str, fields: Fields) -> WithheldError | None:
        """What a plain request must not hold: no placeholder goes over it."""
        stray = strayed(self._credentials.bindings, (), target, fields)
        return None if stray is None else WithheldError(_astray(stray, to), stray, is_stray=True)

    @property
    def bindings(self) -> Sequence[Binding]:
        return self._credentials.bindings

    def _remember(self, grants: Sequence[Grant]) -> None:
        for grant in grants:
            key = (grant.due.binding.id, grant.value)
            if key in self._used:
                self._used.move_to_end(key)
                continue
            self._used[key] = grant
            while len(self._used) > _MAX_USED:
                self._used.popitem(last=False)
            self.needles = needles(self._used.values())


def canary(why: str) -> Decision:
    """The denial of a placeholder on its way to a wrong place."""
    return Decision(allowed=False, kind=DenyKind.CANARY, reason=why)


def _greedy(binding: Binding, to: Endpoint) -> str:
    return f"a request to {to} with the login of {binding.name} would hand out a key, or may do so"


def _astray(binding: Binding, to: Endpoint) -> str:
    return f"the placeholder of secret {binding.name} was on its way to {to}, where it is not bound"
