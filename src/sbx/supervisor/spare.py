# SPDX-License-Identifier: Apache-2.0
"""A session that is ready before it is asked for: connecting and proving the key takes a while.

Under emulation the guest needs two or three hundredths of a second for it, as much as for a short
command. One is made when the sandbox is up and after each session, and given up soon: an idle
machine is not woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from sbx.errors import SbxError

KEPT_S = 45.0  # less than the guest agent waits for a request (guest/server.py)


class SpareSession:
    """Opens sessions with `open_session`, and keeps one of them."""

    def __init__(self, open_session: Callable[[], Awaitable[socket.socket]]) -> None:
        self._open = open_session
        self._sock: socket.socket | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> socket.socket:
        """The spare one or a new one, the caller's.

        Raises:
            SbxError: the guest agent cannot be reached.
        """
        if self._task is not None:  # it is on its way
            await asyncio.wait({self._task})
        sock = self._give_out()
        return await self._open() if sock is None else sock

    def prepare(self) -> None:
        """Begin to make a spare one if there is none."""
        if self._task is None and self._sock is None:
            self._task = asyncio.get_running_loop().create_task(self._fill(), name="spare session")

    async def close(self) -> None:
        """Give it up, for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._drop()

    async def _fill(self) -> None:
        try:
            with contextlib.suppress(SbxError):  # whoever needs one will be told
                self._sock = await self._open()
                self._expiry = asyncio.get_running_loop().call_later(KEPT_S, self._drop)
        finally:
            self._task = None

    def _give_out(self) -> socket.socket | None:
        sock, self._sock = self._sock, None
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if sock is not None and not _is_quiet(sock):
            sock.close()
            return None
        return sock

    def _drop(self) -> None:
        sock = self._give_out()
        if sock is not None:
            sock.close()


def _is_quiet(sock: socket.socket) -> bool:
    """Whether the guest has neither left nor said anything."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
