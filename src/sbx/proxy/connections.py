# SPDX-License-Identifier: Apache-2.0
"""The open connections, so that a change of the policy can cut what it no longer allows."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

from sbx.policy.engine import Policy
from sbx.policy.hosts import Address, Endpoint
from sbx.policy.rules import Decision
from sbx.proxy.targets import unreadable

PolicySource = Callable[[], Policy]

_LINGER_NONE = struct.pack("ii", 1, 0)


class Live:
    """A connection to a server, with all that a decision about it needs."""

    __slots__ = ("address", "client", "cut", "opaque", "request", "to", "upstream")

    def __init__(
        self, client: socket.socket, upstream: socket.socket, to: Endpoint, address: Address | None
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.to = to
        self.address = address  # None: a proxy of the user's network knows it
        self.request: tuple[str, str] | None = None  # method and target, while one is under way
        self.opaque = False  # passed on unread
        self.cut: Decision | None = None  # the decision that ended it

    def verdict(self, policy: Policy) -> Decision:
        """What a policy says of the connection as it is now."""
        address = self.address
        decision = policy.connection(self.to) if address is None else policy.dial(self.to, address)
        if decision.allowed and self.request is not None:
            decision = policy.request(self.to, *self.request)
        if decision.allowed and self.opaque and decision.inspect:
            decision = unreadable(decision)
        return decision

    def end(self, decision: Decision) -> None:
        """Cut it: what waits in a buffer of the kernel is not sent any more either."""
        self.cut = decision
        for sock in (self.upstream, self.client):
            reset_on_close(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it


class Connections:
    """All of them, of one sandbox."""

    def __init__(self, policy: PolicySource) -> None:
        self._policy = policy
        self._open: set[Live] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, live: Live) -> Decision:
        """Enter a connection before its first byte; the policy may have changed while it was made.

        The caller sends nothing if the decision is a denial.
        """
        self._open.add(live)
        return live.verdict(self._policy())

    def remove(self, live: Live) -> None:
        self._open.discard(live)

    def recheck(self) -> int:
        """Cut what the policy of now does not allow; how many that were."""
        policy = self._policy()
        denied = [(live, d) for live in self._open if not (d := live.verdict(policy)).allowed]
        for live, decision in denied:
            live.end(decision)
        return len(denied)


def reset_on_close(sock: socket.socket) -> None:
    """Closing it discards what was not sent, and the peer sees a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
