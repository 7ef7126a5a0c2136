# SPDX-License-Identifier: Apache-2.0
"""Connections that the kernel redirected here: the name is the one that DNS answered for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address

from sbx.policy.hosts import Address, Endpoint
from sbx.policy.rules import Decision
from sbx.proxy.client import Client
from sbx.proxy.context import Account, Context, Guest
from sbx.proxy.events import Outcome, Via
from sbx.proxy.first import FirstBytes
from sbx.proxy.http.forward import own_answer
from sbx.proxy.targets import UnknownTargetError, target_of
from sbx.proxy.tunnel import carry, first_kind, refuse_unread
from sbx.proxy.upstream import BlockedError, UnreachableError

OriginalDestination = Callable[[socket.socket], tuple[Address, int]]

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h
_SOCKADDR_IN = struct.Struct("!HH4s8x")


def original_destination(sock: socket.socket) -> tuple[Address, int]:
    """Where the guest's connection was going before the kernel redirected it.

    Raises:
        OSError: the kernel does not know; the connection was not redirected.
    """
    raw = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size)
    _, port, address = _SOCKADDR_IN.unpack(raw)
    return IPv4Address(address), port


class TransparentProxy:
    """Handles redirected connections."""

    def __init__(
        self, context: Context, original: OriginalDestination = original_destination
    ) -> None:
        self._context = context
        self._original = original

    async def handle(self, sock: socket.socket) -> None:
        """Serve one connection; the caller closes the socket."""
        client = Client(sock=sock, limits=self._context.limits)
        guest = Guest(context=self._context, client=client, via=Via.TRANSPARENT)
        address, port = self._original(sock)
        account = Account(self._context, guest.via, Endpoint(host=address, port=port))
        try:
            to = account.to = target_of(address, port, self._context.names)
            dialled = await self._context.upstream.connect(to)
        except UnknownTargetError as error:
            account.close(Outcome.BLOCKED, detail=str(error))
            await self._refuse(guest, 403, f"{error}\n")
        except BlockedError as error:
            account.close(Outcome.BLOCKED, decision=error.decision)
            await self._refuse(guest, 403, self._text(error.decision, account))
        except UnreachableError as error:
            account.close(Outcome.FAILED, detail=error.why)
            await self._refuse(guest, error.status, f"{error.why}\n")
        else:
            with dialled.sock:
                await carry(guest, to, dialled, account)

    def _text(self, decision: Decision, account: Account) -> str:
        return self._context.refusal(decision, account.to) if account.to else decision.reason

    async def _refuse(self, guest: Guest, status: int, text: str) -> None:
        """Say it in the guest's protocol, if it soon says what that is."""
        try:
            kind = await first_kind(guest)
        except TimeoutError:
            return
        if kind is FirstBytes.HTTP:
            await guest.client.refuse(own_answer(status, text))
        else:
            await refuse_unread(guest)
