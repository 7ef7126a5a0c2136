# SPDX-License-Identifier: Apache-2.0
"""A small request to a server whose whole answer is wanted here, not in the guest."""

from __future__ import annotations

from dataclasses import dataclass, field

from sbx.credential.scrub import Scrubber
from sbx.proxy.client import Meter
from sbx.proxy.connections import Live
from sbx.proxy.context import Account, Context
from sbx.proxy.events import Outcome
from sbx.proxy.http.body import BadBodyError
from sbx.proxy.intercept.exchange import Exchange, ServerFaultError
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.intercept.messages import Ask, Fields
from sbx.proxy.intercept.servers import Server, Servers
from sbx.proxy.limits import Limits
from sbx.proxy.upstream import BlockedError, UnreachableError

_MAX_ANSWER = 256 * 1024


class CallError(Exception):
    """There is no answer."""

    def __init__(self, why: str, outcome: Outcome, status: int = 502) -> None:
        super().__init__(why)
        self.why = why
        self.outcome = outcome
        self.status = status  # for the guest


@dataclass(slots=True, kw_only=True)
class Answer:
    """A whole answer. As a sink, it takes one."""

    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    body: bytes = b""

    async def informational(self, status: int, fields: Fields) -> None:
        """Of no use here."""

    async def head(self, status: int, fields: Fields, *, length: int | None, empty: bool) -> None:
        del length, empty
        self.status, self.fields = status, list(fields)

    async def data(self, data: bytes) -> None:
        if len(self.body) + len(data) > _MAX_ANSWER:
            raise CallError("the answer of the server is too long", Outcome.FAILED)
        self.body += data

    async def flush(self) -> None:
        """Nothing waits."""

    async def end(self, data: bytes = b"") -> None:
        await self.data(data)

    async def relay(self, server: Server, scrubber: Scrubber, limits: Limits, meter: Meter) -> None:
        raise CallError("the server changes the protocol unasked", Outcome.FAILED)


async def call(
    context: Context, interception: Interception, servers: Servers, account: Account, *, ask: Ask
) -> Answer:
    """Ask a server, under the policy of the sandbox.

    Raises:
        CallError: there is no answer.
    """
    try:
        server = await servers.take(("tokens",))
    except BlockedError as error:
        account.decision = error.decision
        raise CallError(
            context.refusal(error.decision, servers.to), Outcome.BLOCKED, 403
        ) from error
    except UnreachableError as error:
        raise CallError(error.why, Outcome.FAILED, error.status) from error
    account.address = server.address
    live = Live(server.stream.sock, server.stream.sock, servers.to, server.address)
    live.request = (ask.method, ask.target)
    answer = Answer()
    exchange = Exchange(
        ask=ask, sink=answer, server=server, grants=(), interception=interception,
        limits=context.limits, meter=account.meter, to=servers.to,
    )  # fmt: skip
    try:
        decision = context.connections.add(live)
        if not decision.allowed:
            account.decision = decision
            raise CallError(context.refusal(decision, servers.to), Outcome.BLOCKED, 403)
        await exchange.run()
    except ServerFaultError as error:
        raise CallError(error.why, Outcome.FAILED) from error
    except TimeoutError as error:
        raise CallError("nothing moved for too long", Outcome.TIMEOUT, 504) from error
    except (BadBodyError, OSError) as error:
        raise CallError(str(error), Outcome.CUT if live.cut else Outcome.FAILED) from error
    finally:
        context.connections.remove(live)
        server.close()
    return answer
