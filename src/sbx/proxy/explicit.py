# SPDX-License-Identifier: Apache-2.0
"""The proxy that the sandbox is told of: CONNECT, and requests with a whole http URL."""

from __future__ import annotations

import socket

from sbx.proxy.client import Client
from sbx.proxy.context import Account, Context, Guest
from sbx.proxy.events import Outcome, Via
from sbx.proxy.http.forward import own_answer, reason_phrase
from sbx.proxy.http.head import RequestHead
from sbx.proxy.requests import serve_requests
from sbx.proxy.targets import UnknownTargetError, target_of
from sbx.proxy.tunnel import carry
from sbx.proxy.upstream import BlockedError, UnreachableError


class ExplicitProxy:
    """Handles connections to port 3128 of the gateway."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def handle(self, sock: socket.socket) -> None:
        """Serve one connection; the caller closes the socket."""
        client = Client(sock=sock, limits=self._context.limits)
        guest = Guest(context=self._context, client=client, via=Via.EXPLICIT)
        head = await serve_requests(guest, None)
        if head is not None:
            await self._connect(guest, head)

    async def _connect(self, guest: Guest, head: RequestHead) -> None:
        account = Account(self._context, guest.via, head.authority)
        account.method = head.method
        if head.authority is None:
            raise AssertionError("CONNECT has an authority")
        try:
            to = target_of(head.authority.host, head.authority.port, self._context.names)
            account.to = to
            dialled = await self._context.upstream.connect(to)
        except UnknownTargetError as error:
            account.close(Outcome.BLOCKED, detail=str(error))
            await guest.client.refuse(own_answer(403, f"{error}\n"))
        except BlockedError as error:
            account.close(Outcome.BLOCKED, decision=error.decision)
            text = self._context.refusal(error.decision, account.to or head.authority)
            await guest.client.refuse(own_answer(403, text, reason=reason_phrase(text)))
        except UnreachableError as error:
            account.close(Outcome.FAILED, detail=error.why)
            reason = reason_phrase(error.why)
            await guest.client.refuse(own_answer(error.status, f"{error.why}\n", reason=reason))
        else:
            with dialled.sock:
                await guest.client.send(own_answer(200))
                await carry(guest, to, dialled, account)
