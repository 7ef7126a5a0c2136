# SPDX-License-Identifier: Apache-2.0
"""What every connection of a sandbox shares, and the account that is kept of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sbx.policy.hosts import Address, Endpoint
from sbx.policy.rules import Decision, DenyKind
from sbx.policy.views import approval_text, block_text
from sbx.proxy.client import Client, Meter
from sbx.proxy.connections import Connections, PolicySource
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.events import Event, Outcome, Via
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.limits import Limits
from sbx.proxy.upstream import Upstream
from sbx.system.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of the way out of one sandbox."""

    policy: PolicySource
    names: StandIns
    upstream: Upstream
    connections: Connections
    on_event: Callable[[Event], None]
    limits: Limits
    sandbox: str | None = None  # its name, for the command in a refusal
    interception: Interception | None = None  # None: TLS always passes unread
    approvals: bool = False  # the user is asked about what no rule allows

    def refusal(self, decision: Decision, to: Endpoint) -> str:
        """The text of a 403."""
        if self.approvals and decision.kind is DenyKind.DEFAULT:
            return approval_text(to)
        return block_text(decision, to, self.sandbox)


class Account:
    """One event in the making: a connection, or a request on one."""

    def __init__(self, context: Context, via: Via, to: Endpoint | None = None) -> None:
        self.meter = Meter(started=asyncio.get_running_loop().time())
        self.to = to
        self.decision: Decision | None = None
        self.address: Address | None = None
        self.method = ""
        self.path = ""
        self.credentials: tuple[str, ...] = ()
        self._context = context
        self._via = via
        self._closed = False

    def close(
        self, outcome: Outcome, *, decision: Decision | None = None, detail: str = ""
    ) -> None:
        """Report it, once; later calls change nothing."""
        if self._closed:
            return
        self._closed = True
        event = Event(
            via=self._via,
            outcome=outcome,
            to=self.to,
            decision=decision or self.decision,
            address=self.address,
            method=printable(self.method),
            path=printable(self.path),
            credentials=self.credentials,
            sent_bytes=self.meter.sent_bytes,
            received_bytes=self.meter.received_bytes,
            duration_s=asyncio.get_running_loop().time() - self.meter.started,
            detail=printable(detail),
        )
        self._context.on_event(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A connection of the guest: its socket, the parts, and how it came."""

    context: Context
    client: Client
    via: Via
