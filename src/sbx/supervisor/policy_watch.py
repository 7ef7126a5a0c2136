# SPDX-License-Identifier: Apache-2.0
"""The policy in force in one sandbox: follows the stored one at once, and cuts what it ends.

Two ways lead here, and either would do: the kernel tells of every change in the configuration
folder (inotify), and whoever changes the policy asks over the control socket until it is in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sbx.errors import HostError
from sbx.policy.engine import Policy
from sbx.proxy.connections import Connections
from sbx.store.paths import Paths, make_private
from sbx.store.rules import PolicySource
from sbx.system.inotify import FolderWatch

log = logging.getLogger(__name__)


class PolicyWatch:
    """Keeps the policy of one sandbox current. Call `start` before the first decision."""

    def __init__(self, where: Paths, sandbox: str, also: Callable[[], None]) -> None:
        """`also` is called whenever something in the folder may have changed."""
        self._where = where
        self._also = also
        self._source = PolicySource(where, sandbox)
        self._watch: FolderWatch | None = None
        self._reading = asyncio.Lock()
        self.connections = Connections(self.policy)

    def policy(self) -> Policy:
        """The policy of now."""
        return self._source.policy

    async def start(self) -> None:
        """Watch, then read, so that no change falls between."""
        self._renew()
        await self._read()

    async def follow(self) -> None:
        """Take every change, for ever."""
        while True:
            if self._watch is None:
                await asyncio.Event().wait()  # changes come by request only
            else:
                await self._watch.changed()
                self._renew()  # the folder may be another one now
                await self._read()

    async def refresh(self) -> None:
        """Return when the stored policy is in force.

        Raises:
            PermanentError: it cannot be read; the last good one is in force, or none.
        """
        await self._read()
        if self._source.problem is not None:
            raise self._source.problem

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    async def _read(self) -> None:
        """Read on a thread: traffic goes on while a hundred thousand rules are compiled."""
        self._also()
        async with self._reading:
            changed = await asyncio.to_thread(self._source.refresh)
        if self._source.problem is not None:
            log.warning("%s", self._source.problem.message)
        if changed and (cut := self.connections.recheck()):
            log.info("the policy changed: %d connections were cut", cut)

    def _renew(self) -> None:
        try:
            make_private(self._where)
            if self._watch is None:
                self._watch = FolderWatch(self._where.config)
            else:
                self._watch.renew()
        except (OSError, HostError) as error:
            log.warning("changes of the policy are only noticed when told: %s", error)
            self.close()
