# SPDX-License-Identifier: Apache-2.0
"""Listeners: accept connections of the guest, so many at a time, and outlive each of them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger(__name__)

Handler = Callable[[socket.socket], Awaitable[None]]


class Acceptor:
    """Serves a listening socket until it is cancelled."""

    def __init__(self, listener: socket.socket, handler: Handler, max_connections: int) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._handler = handler
        self._slots = asyncio.Semaphore(max_connections)
        self._ended = asyncio.Event()
        self.active = 0
        self.peak = 0  # most at once

    async def serve(self) -> None:
        """Accept for ever. Beyond the bound, connections wait in the kernel's queue."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._slots.acquire()
                sock = await self._accept(loop)
                tasks.create_task(self._handle(sock), name=f"connection {sock.fileno()}")

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        while True:
            self._ended.clear()
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except ConnectionError:
                continue  # it was given up before we took it
            except OSError as error:
                if self._listener.fileno() < 0 or not self.active:
                    raise
                _LOG.warning("no connection can be accepted before one ends: %s", error)
                await self._ended.wait()
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock

    async def _handle(self, sock: socket.socket) -> None:
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await self._handler(sock)
        except (OSError, TimeoutError) as error:
            _LOG.debug("a connection broke off: %s", error)
        except Exception:  # noqa: BLE001 - a defect must not take the other connections with it
            _LOG.exception("a connection failed")
        finally:
            sock.close()
            self.active -= 1
            self._slots.release()
            self._ended.set()
