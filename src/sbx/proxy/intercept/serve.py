# SPDX-License-Identifier: Apache-2.0
"""Where a passing TLS connection becomes an intercepted one."""

from __future__ import annotations

import asyncio
import ssl

from sbx.policy.hosts import Endpoint
from sbx.proxy.context import Account, Guest
from sbx.proxy.events import Outcome
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.intercept.http1 import serve_http1
from sbx.proxy.intercept.http2 import serve_http2
from sbx.proxy.intercept.servers import Servers
from sbx.proxy.intercept.session import Session
from sbx.proxy.intercept.stream import TlsStream
from sbx.proxy.upstream import Dialled

_UNTRUSTED = (
    "the sandbox's program does not accept our certificate: it trusts authorities of its own"
)


async def intercept(
    guest: Guest, to: Endpoint, dialled: Dialled, interception: Interception, account: Account
) -> None:
    """Be the server for the guest; the caller closes the sockets.

    `account` is of the connection: it is closed here only if no request comes about.

    Raises:
        OSError: the guest's connection broke off.
    """
    client, context = guest.client, guest.context
    first, client.pending = bytes(client.pending), bytearray()
    stream = TlsStream(client.sock, interception.leaves.context(str(to.host)), first=first)
    try:
        async with asyncio.timeout(context.limits.head_timeout_s):
            protocol = await stream.handshake()
    except TimeoutError:
        raise
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error
        account.close(Outcome.FAILED, detail=f"{_UNTRUSTED} ({why})")
        return
    limit_s = context.limits.connect_timeout_s
    servers = Servers(to, context.upstream, interception.trust, limit_s)
    servers.offer(dialled)
    session = Session(guest=guest, to=to, interception=interception, servers=servers)
    try:
        if protocol == "h2":
            await serve_http2(session, stream)
        else:
            await serve_http1(session, stream)
    finally:
        await servers.close()
