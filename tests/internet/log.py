# SPDX-License-Identifier: Apache-2.0
"""What the servers have seen, and the gates at which some of them wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from tests.internet.facts import Kind, Seen

_MAX_SEEN = 50_000


class Log:
    """Entries in the order of their arrival; whoever waits for one is woken."""

    def __init__(self) -> None:
        self.entries: list[Seen] = []
        self._changed = asyncio.Condition()

    async def add(self, entry: Seen) -> None:
        """Enter it. The entry may still grow: a body arrives later than its head."""
        if len(self.entries) >= _MAX_SEEN:
            raise AssertionError("more was seen than a test should cause")
        self.entries.append(entry)
        await self.changed()

    async def changed(self) -> None:
        """Wake whoever waits."""
        async with self._changed:
            self._changed.notify_all()

    def matching(self, kind: Kind | None, text: str) -> list[Seen]:
        """The entries of a kind that hold a text in `what`."""
        return [e for e in self.entries if kind in (None, e.kind) and text in e.what]

    async def wait(self, kind: Kind | None, text: str, count: int) -> list[Seen]:
        """The same, once there are so many."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.matching(kind, text)) >= count)
        return self.matching(kind, text)


class Gates:
    """Named events: a server waits at one until the test opens it, for that once."""

    def __init__(self) -> None:
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))

    async def wait(self, key: str) -> None:
        await self._gates[key].acquire()

    def release(self, key: str) -> None:
        """Let one pass, now or when it comes."""
        self._gates[key].release()
