# SPDX-License-Identifier: Apache-2.0
"""An intercepted connection of the guest: each request is decided, carried and reported."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NoReturn

from sbx.credential.inject import Grant
from sbx.credential.logins import Login
from sbx.credential.scrub import Scrubber
from sbx.policy.hosts import Endpoint, Host
from sbx.policy.rules import Decision
from sbx.proxy.connections import Live
from sbx.proxy.context import Account, Guest
from sbx.proxy.events import Outcome
from sbx.proxy.http.body import BadBodyError
from sbx.proxy.intercept.exchange import Exchange, ServerFaultError
from sbx.proxy.intercept.grants import Interception, WithheldError, canary
from sbx.proxy.intercept.messages import Ask, Sink
from sbx.proxy.intercept.servers import Server, Servers
from sbx.proxy.intercept.tokens import answer_tokens, is_token_request
from sbx.proxy.targets import agreed
from sbx.proxy.upstream import BlockedError, UnreachableError

_UNCLEAR = "the path of a request to a server that gives out tokens can be read in two ways"


class BrokenError(Exception):
    """The exchange cannot be ended in order: the guest's connection or stream is to be reset."""


class _RefusedError(Exception):
    def __init__(self, status: int, text: str, outcome: Outcome, decision: Decision | None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.outcome = outcome
        self.decision = decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the requests of one connection share."""

    guest: Guest
    to: Endpoint
    interception: Interception
    servers: Servers

    async def carry(self, ask: Ask, sink: Sink, host: Host | None) -> None:
        """Carry one request; `host` is the one that it names.

        Raises:
            BrokenError: the answer is not whole; it was reported.
        """
        account = Account(self.guest.context, self.guest.via, self.to)
        account.method, account.path = ask.method, ask.path
        try:
            await self._carry(ask, sink, host, account)
        except _RefusedError as end:
            account.close(end.outcome, decision=end.decision, detail=end.text)
            await answer(sink, end.status, end.text, empty=ask.method == "HEAD")
        except asyncio.CancelledError:
            account.close(Outcome.CUT, detail="the guest gave the request up")
            raise

    async def refuse(self, status: int, text: str, sink: Sink) -> None:
        """Report and answer a request that cannot be read."""
        Account(self.guest.context, self.guest.via, self.to).close(Outcome.MALFORMED, detail=text)
        await answer(sink, status, text, empty=False)

    async def _carry(self, ask: Ask, sink: Sink, host: Host | None, account: Account) -> None:
        self._decide(ask, host, account)
        if (login := self.interception.login_at(self.to)) is not None:
            if (is_for_tokens := is_token_request(login, ask)) is None:
                self._refuse(400, _UNCLEAR, Outcome.MALFORMED)
            if is_for_tokens:
                await self._tokens(login, ask, sink, account)
                return
        grants = await self._grants(ask, account)
        identity = tuple(sorted(g.due.binding.id for g in grants))
        while True:
            server = await self._server(identity)
            account.address = server.address
            live = Live(self.guest.client.sock, server.stream.sock, self.to, server.address)
            live.request = (ask.method, ask.target)
            exchange = Exchange(
                ask=ask,
                sink=sink,
                server=server,
                grants=grants,
                interception=self.interception,
                limits=self.guest.context.limits,
                meter=account.meter,
                to=self.to,
            )
            if not await self._exchange(exchange, live, account):
                return

    async def _exchange(self, exchange: Exchange, live: Live, account: Account) -> bool:
        """Run an exchange and report it; whether it is to be tried again on a new connection."""
        server, ask, connections = exchange.server, exchange.ask, self.guest.context.connections
        keep = False
        try:
            decision = connections.add(live)
            if not decision.allowed:
                self._deny(decision)
            await exchange.run()
            if exchange.switched:
                scrubber = Scrubber(self.interception.needles.same_length())
                await exchange.sink.relay(server, scrubber, exchange.limits, account.meter)
            keep = exchange.keeps
            account.close(
                Outcome.CUT if live.cut else Outcome.PASSED,
                decision=live.cut,
                detail=_said(exchange),
            )
        except ServerFaultError as error:
            if live.cut:
                account.close(Outcome.CUT, decision=live.cut)
                raise BrokenError from error
            if server.is_used and not error.started and _is_repeatable(ask):
                return True  # it was closed while it was idle, as servers do
            if not error.started:
                self._refuse(502, error.why, Outcome.FAILED)
            account.close(Outcome.FAILED, detail=error.why)
            raise BrokenError from error
        except BadBodyError as error:
            account.close(Outcome.CUT if live.cut else Outcome.MALFORMED, detail=str(error))
            raise BrokenError from error
        except TimeoutError as error:
            account.close(Outcome.TIMEOUT, detail="nothing moved for too long")
            raise BrokenError from error
        except OSError as error:
            account.close(Outcome.CUT if live.cut else Outcome.FAILED, detail=str(error))
            raise BrokenError from error
        finally:
            connections.remove(live)
            if keep:
                self.servers.give_back(server)
            else:
                server.close()
        return False

    def _decide(self, ask: Ask, host: Host | None, account: Account) -> None:
        policy = self.guest.context.policy()
        mismatch = agreed(policy, self.to, host, "host of the request")
        if mismatch is not None:
            self._deny(mismatch)
        decision = account.decision = policy.request(self.to, ask.method, ask.target)
        if not decision.allowed:
            self._deny(decision)

    async def _tokens(self, login: Login, ask: Ask, sink: Sink, account: Account) -> None:
        account.credentials = (login.service,)
        stray = self.interception.strays(self.to, ask.target, ask.fields)
        if stray is not None:
            account.credentials = (stray.binding.name,)
            self._refuse(403, stray.why, Outcome.BLOCKED, canary(stray.why))
        ways = (self.guest.context, self.interception, self.servers)
        try:
            found = await answer_tokens(login, ask, sink, ways, account)
        except (BadBodyError, TimeoutError, OSError) as error:
            account.close(Outcome.MALFORMED, detail=str(error))
            raise BrokenError from error
        account.close(found.outcome, detail=found.detail)
        fields = [*found.fields, (b"cache-control", b"no-store")]
        await sink.head(found.status, fields, length=len(found.body), empty=False)
        await sink.end(found.body)

    async def _grants(self, ask: Ask, account: Account) -> tuple[Grant, ...]:
        try:
            grants = await self.interception.grants(self.to, ask.method, ask.target, ask.fields)
        except WithheldError as error:
            account.credentials = (error.binding.name,)
            if error.is_stray:
                self._refuse(403, error.why, Outcome.BLOCKED, canary(error.why))
            self._refuse(502, error.why, Outcome.FAILED)
        account.credentials = tuple(g.due.binding.name for g in grants)
        return grants

    async def _server(self, identity: tuple[str, ...]) -> Server:
        try:
            return await self.servers.take(identity)
        except BlockedError as error:
            self._deny(error.decision)
        except UnreachableError as error:
            self._refuse(error.status, error.why, Outcome.FAILED)

    def _deny(self, decision: Decision) -> NoReturn:
        text = self.guest.context.refusal(decision, self.to)
        self._refuse(403, text, Outcome.BLOCKED, decision)

    def _refuse(
        self, status: int, text: str, outcome: Outcome, decision: Decision | None = None
    ) -> NoReturn:
        raise _RefusedError(status, text, outcome, decision)


async def answer(sink: Sink, status: int, text: str, *, empty: bool) -> None:
    """An answer of our own."""
    body = text if text.endswith("\n") else text + "\n"
    data = body.encode()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await sink.head(status, fields, length=len(data), empty=empty)
    await sink.end(b"" if empty else data)


def _is_repeatable(ask: Ask) -> bool:
    return ask.method in ("GET", "HEAD") and ask.body.ended and not ask.length


def _said(exchange: Exchange) -> str:
    notes: list[str] = []
    if exchange.taken_out:
        notes.append("the answer held the credential, which was taken out")
    notes += [f"the body held the placeholder of secret {name}" for name in exchange.ask.notes]
    return "; ".join(notes)
