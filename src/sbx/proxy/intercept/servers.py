# SPDX-License-Identifier: Apache-2.0
"""Connections to servers for one connection of the guest, kept for its next requests.

They belong to one connection of one guest, and each to the credentials that went over it: a server
that ties what it knows to a connection never sees two of them on one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field

from sbx.policy.hosts import Address, Endpoint
from sbx.proxy.client import has_bytes
from sbx.proxy.intercept.stream import TlsStream
from sbx.proxy.upstream import Dialled, UnreachableError, Upstream

Identity = tuple[str, ...]  # ids of the credentials that a connection has carried


@dataclass(slots=True, kw_only=True)
class Server:
    """A connection to a server, and what was read from it and not used yet."""

    stream: TlsStream
    address: Address | None  # None: a proxy of the user looked it up
    identity: Identity
    buffer: bytearray = field(default_factory=bytearray)
    is_used: bool = False

    def close(self) -> None:
        self.stream.sock.close()


class Servers:
    """The connections to one endpoint."""

    def __init__(
        self, to: Endpoint, upstream: Upstream, trust: ssl.SSLContext, timeout_s: float
    ) -> None:
        self.to = to
        self._upstream = upstream
        self._trust = trust
        self._timeout_s = timeout_s
        self._ready: Dialled | None = None
        self._idle: list[Server] = []

    def offer(self, dialled: Dialled) -> None:
        """A connection that was made before anything was known; the caller closes it."""
        self._ready = dialled

    async def take(self, identity: Identity) -> Server:
        """A connection for one request.

        Raises:
            BlockedError: the policy does not allow it any more.
            UnreachableError: it cannot be made, or the server is not to be trusted.
        """
        for server in list(self._idle):
            if server.identity != identity:
                continue
            self._idle.remove(server)
            # A server that ended, or said something unasked, is of no use.
            if not server.buffer and not has_bytes(server.stream.sock):
                return server
            server.close()
        dialled, self._ready = self._ready, None
        if dialled is None:
            dialled = await self._upstream.connect(self.to)
        try:
            return await self._secured(dialled, identity)
        except BaseException:
            dialled.sock.close()
            raise

    def give_back(self, server: Server) -> None:
        """Keep it for the next request."""
        server.is_used = True
        self._idle.append(server)

    async def close(self) -> None:
        """End all that are kept."""
        for server in self._idle:
            with contextlib.suppress(OSError):
                await server.stream.close()
            server.close()
        self._idle.clear()

    async def _secured(self, dialled: Dialled, identity: Identity) -> Server:
        stream = TlsStream(dialled.sock, self._trust, server_name=str(self.to.host))
        try:
            async with asyncio.timeout(self._timeout_s):
                await stream.handshake()
        except ssl.SSLCertVerificationError as error:
            why = f"the certificate of {self.to} is not to be trusted: {error.verify_message}"
            raise UnreachableError(why) from error
        except (OSError, TimeoutError) as error:
            raise UnreachableError(f"{self.to} does not speak TLS with us") from error
        return Server(stream=stream, address=dialled.address, identity=identity)
