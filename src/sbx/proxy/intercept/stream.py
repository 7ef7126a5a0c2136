# SPDX-License-Identifier: Apache-2.0
"""A TLS connection over a plain socket on the event loop.

Nothing is read that is not asked for, so a peer that waits makes the other one wait. What was read
from the socket before TLS was decided on can be handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

_RECORD = 16 * 1024
_AT_ONCE = 80 * 1024  # a piece that was read, with what frames it, goes out in one call


class TlsStream:
    """One side of a connection, server or client."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        first: bytes = b"",
        chunk_bytes: int = 64 * 1024,
    ) -> None:
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_name is None, server_hostname=server_name
        )
        self._in.write(first)
        self._chunk_bytes = chunk_bytes
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self.ended = False

    async def handshake(self) -> str | None:
        """Agree with the peer; the protocol (ALPN) that was chosen.

        Raises:
            ssl.SSLError: the peer does not agree, or its certificate is not to be trusted.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive():
                    raise ConnectionResetError("the peer ended during the handshake") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return self._tls.selected_alpn_protocol()

    async def read(self) -> bytes:
        """The next bytes, up to a chunk; none at the end.

        Raises:
            OSError: the connection broke off, or holds no valid TLS.
        """
        while True:
            found: list[bytes] = []
            size = 0
            try:
                # Asking in vain raises an error, which costs as much as a small record.
                while size < self._chunk_bytes and (self._in.pending or self._tls.pending()):
                    data = self._tls.read(_RECORD)
                    if not data:
                        self.ended = True
                        break
                    found.append(data)
                    size += len(data)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self.ended = True
            if found:
                return b"".join(found) if len(found) > 1 else found[0]
            if self.ended:
                return b""
            if self._out.pending:
                await self._flush()
            if not await self._receive():
                self.ended = True
                return b""

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the kernel has them.

        Raises:
            OSError: the connection broke off.
        """
        if len(data) <= _AT_ONCE:
            self._tls.write(data)
            await self._flush()
            return
        view = memoryview(data)
        while view:
            sent = self._tls.write(view[:_AT_ONCE])
            view = view[sent:]
            await self._flush()

    async def close(self) -> None:
        """Say the end, as well as it goes without waiting."""
        with contextlib.suppress(OSError):
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            data = self._out.read()
            if data and not self._sending.locked():
                self.sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._out.read():
                await self._loop.sock_sendall(self.sock, data)

    async def _receive(self) -> bool:
        data = await self._loop.sock_recv(self.sock, self._chunk_bytes)
        if not data:
            return False
        self._in.write(data)
        return True
