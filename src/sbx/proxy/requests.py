# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP: each request is read, decided by itself, and sent over a connection of its own.

Bodies are framed anew in both directions, so that what a server reads is what we have read.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

import h11

from sbx.policy.hosts import Endpoint
from sbx.policy.rules import Decision
from sbx.proxy.connections import Live
from sbx.proxy.context import Account, Guest
from sbx.proxy.events import Outcome
from sbx.proxy.exchange import BadAnswerError, Exchange
from sbx.proxy.http.forward import own_answer
from sbx.proxy.http.head import BadRequestError, Form, RequestHead, head_end, parse_head
from sbx.proxy.intercept.grants import canary
from sbx.proxy.targets import UnknownTargetError, agreed, target_of
from sbx.proxy.upstream import BlockedError, Dialled, UnreachableError

_NO_NESTED_TUNNEL = "CONNECT is only for the proxy itself, not for what a connection leads to"


class _EndError(Exception):
    """The connection ends, after an answer or without one."""

    def __init__(
        self, answer: bytes, outcome: Outcome, *, decision: Decision | None = None
    ) -> None:
        super().__init__(outcome)
        self.answer = answer
        self.outcome = outcome
        self.decision = decision
        self.detail = ""


async def serve_requests(
    guest: Guest, to: Endpoint | None, *, ready: Dialled | None = None
) -> RequestHead | None:
    """Serve requests until the connection ends; the caller closes the sockets.

    `to` is where the connection leads, and `ready` a connection to there for the first request.
    Without `to`, requests name their host themselves; the head of a CONNECT then is handed back.
    """
    while True:
        account = Account(guest.context, guest.via, to)
        try:
            found = await _read_head(guest)
            if found is None:
                return None
            head, framing = found
            account.method, account.path = head.method, head.path
            if to is None and head.form is Form.AUTHORITY:
                guest.client.pending = bytearray(framing.trailing_data[0])
                return head
            if not await _serve(guest, head, framing, account, to, ready):
                return None
            ready = None
        except _EndError as end:
            account.close(end.outcome, decision=end.decision, detail=end.detail)
            if end.answer:
                await guest.client.refuse(end.answer)
            return None


async def _read_head(guest: Guest) -> tuple[RequestHead, h11.Connection] | None:
    client, limits = guest.client, guest.context.limits
    try:
        if not client.pending:
            async with asyncio.timeout(limits.keep_alive_s):
                if not await client.fill():
                    return None
        async with asyncio.timeout(limits.head_timeout_s):
            while (end := head_end(client.pending)) is None:
                if not await client.fill():
                    raise BadRequestError("the head of the request is cut off")
        head, framing = parse_head(bytes(client.pending[:end]))
    except BadRequestError as error:
        _end(400, str(error), Outcome.MALFORMED)
    except TimeoutError:
        if not client.pending:
            return None
        _end(408, "the head of the request took too long", Outcome.TIMEOUT)
    if end < len(client.pending):
        framing.receive_data(bytes(client.pending[end:]))
    client.pending = bytearray()
    return head, framing


async def _serve(
    guest: Guest,
    head: RequestHead,
    framing: h11.Connection,
    account: Account,
    fixed: Endpoint | None,
    ready: Dialled | None,
) -> bool:
    """Decide a request and carry it out; whether another one may follow."""
    to = account.to = _destination(guest, head, fixed)
    decision = account.decision = _decide(guest, head, to, account)
    dialled = ready or await _dial(guest, to)
    account.address = dialled.address
    live = Live(guest.client.sock, dialled.sock, to, dialled.address)
    live.request = (head.method, head.target)
    try:
        decision = guest.context.connections.add(live)
        if not decision.allowed:
            _deny(guest, decision, to)
        exchange = Exchange(guest.client, dialled.sock, head, framing, account.meter)
        again = await exchange.run(to)
        account.close(Outcome.CUT if live.cut else Outcome.PASSED, decision=live.cut)
    except BadAnswerError as error:
        if live.cut:
            raise _EndError(b"", Outcome.CUT, decision=live.cut) from error
        answer = b"" if error.started else own_answer(502, f"{error}\n")
        _end_with(answer, Outcome.FAILED, str(error))
    except BadRequestError as error:
        _end_with(b"", Outcome.CUT if live.cut else Outcome.MALFORMED, str(error))
    except TimeoutError:
        _end_with(b"", Outcome.TIMEOUT, "nothing moved for too long")
    except OSError as error:
        outcome = Outcome.CUT if live.cut else Outcome.FAILED
        raise _EndError(b"", outcome, decision=live.cut) from error
    except asyncio.CancelledError:
        account.close(Outcome.CUT, detail="the way out was closed")
        raise
    finally:
        guest.context.connections.remove(live)
        dialled.sock.close()
    return again


def _destination(guest: Guest, head: RequestHead, fixed: Endpoint | None) -> Endpoint:
    if head.form is Form.AUTHORITY:
        _end(400, _NO_NESTED_TUNNEL, Outcome.MALFORMED)
    try:
        asked = head.authority and target_of(
            head.authority.host, head.authority.port, guest.context.names
        )
    except UnknownTargetError as error:
        _end(403, str(error), Outcome.BLOCKED)
    if fixed is None:
        if asked is None:
            _end(400, "a proxy takes a whole URL as target", Outcome.MALFORMED)
        return asked
    if asked is not None and asked != fixed:
        _end(400, "the target of the request is not where the connection leads", Outcome.MALFORMED)
    if head.port is not None and head.port != fixed.port:
        _end(400, "the port in the Host field is not that of the connection", Outcome.MALFORMED)
    return fixed


def _decide(guest: Guest, head: RequestHead, to: Endpoint, account: Account) -> Decision:
    policy = guest.context.policy()
    # What an absolute target names was compared with the Host field when it was read.
    if head.authority is None:
        mismatch = agreed(policy, to, head.host, "Host field")
        if mismatch is not None:
            _deny(guest, mismatch, to)
    interception = guest.context.interception
    if interception and (stray := interception.strays(to, head.target, head.fields)):
        account.credentials = (stray.binding.name,)
        answer = own_answer(403, stray.why + "\n")
        raise _EndError(answer, Outcome.BLOCKED, decision=canary(stray.why))
    decision = policy.request(to, head.method, head.target)
    if not decision.allowed:
        _deny(guest, decision, to)
    return decision


async def _dial(guest: Guest, to: Endpoint) -> Dialled:
    try:
        return await guest.context.upstream.connect(to)
    except BlockedError as error:
        _deny(guest, error.decision, to)
    except UnreachableError as error:
        _end(error.status, error.why, Outcome.FAILED)


def _deny(guest: Guest, decision: Decision, to: Endpoint) -> NoReturn:
    answer = own_answer(403, guest.context.refusal(decision, to))
    raise _EndError(answer, Outcome.BLOCKED, decision=decision)


def _end(status: int, why: str, outcome: Outcome) -> NoReturn:
    _end_with(own_answer(status, why + "\n"), outcome, why)


def _end_with(answer: bytes, outcome: Outcome, detail: str) -> NoReturn:
    end = _EndError(answer, outcome)
    end.detail = detail
    raise end
