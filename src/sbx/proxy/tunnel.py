# SPDX-License-Identifier: Apache-2.0
"""A connection with one destination: looked at, and passed on once the names agree.

The server is connected to first, because in some protocols it speaks first; nothing is sent to it
before the guest's first bytes are understood. A server that speaks first is neither TLS nor HTTP,
so there is no name to compare. TLS to a host with a bound credential, or with rules about requests,
ends here (`intercept/`); all other TLS passes unread.
"""

from __future__ import annotations

import asyncio

from sbx.policy.hosts import Endpoint
from sbx.policy.rules import Decision
from sbx.proxy.client import has_bytes, relay, wait_readable
from sbx.proxy.connections import Live
from sbx.proxy.context import Account, Guest
from sbx.proxy.events import Outcome
from sbx.proxy.first import FirstBytes, classify
from sbx.proxy.intercept.serve import intercept
from sbx.proxy.requests import serve_requests
from sbx.proxy.targets import agreed
from sbx.proxy.tls.hello import ACCESS_DENIED_ALERT, MAX_BYTES, BadHelloError, Hello, parse_hello
from sbx.proxy.upstream import Dialled


class _DeniedError(Exception):
    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class _GoneError(Exception):
    """The guest ended before it was understood."""


async def carry(guest: Guest, to: Endpoint, dialled: Dialled, account: Account) -> None:
    """Look at a connection and pass it on; the caller closes the sockets."""
    client = guest.client
    live = Live(client.sock, dialled.sock, to, dialled.address)
    account.decision, account.address = dialled.decision, dialled.address
    try:
        _allowed(guest.context.connections.add(live))
        kind = await _first_bytes(guest, dialled)
        if kind is FirstBytes.HTTP:
            guest.context.connections.remove(live)  # each request is decided by itself
            await serve_requests(guest, to, ready=dialled)
            return
        if kind is FirstBytes.TLS and await _tls(guest, live, dialled, account):
            return
        await _pass(guest, live, account)
        account.close(Outcome.CUT if live.cut else Outcome.PASSED, decision=live.cut)
    except _DeniedError as error:
        account.close(Outcome.BLOCKED, decision=error.decision)
        await refuse_unread(guest)
    except BadHelloError as error:
        account.close(Outcome.MALFORMED, detail=str(error))
        await refuse_unread(guest)
    except _GoneError:
        account.close(Outcome.PASSED)
    except TimeoutError:
        account.close(Outcome.TIMEOUT, detail="nothing moved for too long")
    except OSError as error:
        account.close(Outcome.CUT if live.cut else Outcome.FAILED, detail=str(error))
    except asyncio.CancelledError:
        account.close(Outcome.CUT, detail="the way out was closed")
        raise
    finally:
        guest.context.connections.remove(live)


async def refuse_unread(guest: Guest) -> None:
    """End a connection that is no HTTP: an alert for TLS, a reset for the rest."""
    if guest.client.pending.startswith(b"\x16"):
        await guest.client.refuse(ACCESS_DENIED_ALERT)


async def first_kind(guest: Guest) -> FirstBytes | None:
    """Read until it is clear what the guest speaks; None if it ends before.

    Raises:
        TimeoutError: it takes too long.
    """
    async with asyncio.timeout(guest.context.limits.head_timeout_s):
        while (kind := classify(bytes(guest.client.pending))) is None:
            if not await guest.client.fill():
                return None
    return kind


async def _first_bytes(guest: Guest, dialled: Dialled) -> FirstBytes:
    if not guest.client.pending:
        async with asyncio.timeout(guest.context.limits.idle_timeout_s):
            await wait_readable(guest.client.sock, dialled.sock)
        # Bytes of the guest come first: they are what a name can be read from.
        if not has_bytes(guest.client.sock):
            return FirstBytes.OPAQUE
    kind = await first_kind(guest)
    if kind is not None:
        return kind
    if guest.client.pending:
        # A beginning that could still become a request, and nothing more comes.
        raise _GoneError
    return FirstBytes.OPAQUE  # it only listens: what it says is nothing


async def _tls(guest: Guest, live: Live, dialled: Dialled, account: Account) -> bool:
    """Compare the names; whether the connection was intercepted, and is over."""
    context = guest.context
    hello = await _hello(guest)
    denied = agreed(context.policy(), live.to, hello.server_name, "server name in the TLS hello")
    if denied is not None:
        raise _DeniedError(denied)
    interception = context.interception
    if interception is None or not isinstance(live.to.host, str):
        return False
    if not (interception.covers(live.to) or live.verdict(context.policy()).inspect):
        return False
    context.connections.remove(live)  # each request is decided by itself
    await intercept(guest, live.to, dialled, interception, account)
    return True


async def _pass(guest: Guest, live: Live, account: Account) -> None:
    live.opaque = True
    _allowed(live.verdict(guest.context.policy()))
    await relay(guest.client, live.upstream, account.meter)


async def _hello(guest: Guest) -> Hello:
    async with asyncio.timeout(guest.context.limits.head_timeout_s):
        while (hello := parse_hello(bytes(guest.client.pending))) is None:
            if len(guest.client.pending) > MAX_BYTES:
                raise BadHelloError("the TLS hello is too long")
            if not await guest.client.fill():
                raise _GoneError
    return hello


def _allowed(decision: Decision) -> None:
    if not decision.allowed:
        raise _DeniedError(decision)
