# SPDX-License-Identifier: Apache-2.0
"""Auto-stop: a sandbox that nobody uses is stopped after a grace period."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls `expired` once when nothing has held the sandbox for `grace_s` seconds."""

    def __init__(self, grace_s: float, expired: Callable[[], None]) -> None:
        self._grace_s = grace_s
        self._expired = expired
        self._leases = 0  # open control connections that hold a session
        self._inside = 0  # sessions the guest agent counts, detached ones included
        self._keep = False
        self._handle: asyncio.TimerHandle | None = None

    @property
    def sessions(self) -> int:
        """How many sessions are open; a leased one is counted inside too, once it has begun."""
        return max(self._leases, self._inside)

    def keep(self, *, keep: bool) -> None:
        """Stay up without sessions, or not."""
        self._keep = keep
        self._update()

    def lease(self, change: int) -> None:
        """A session was opened (+1) or closed (-1)."""
        self._leases += change
        self._update()

    def inside(self, count: int) -> None:
        """The guest agent counts so many sessions now."""
        self._inside = count
        self._update()

    def cancel(self) -> None:
        """Stop counting for good."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _update(self) -> None:
        self.cancel()
        if not (self._leases or self._inside or self._keep):
            self._handle = asyncio.get_running_loop().call_later(self._grace_s, self._expired)
