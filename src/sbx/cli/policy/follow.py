# SPDX-License-Identifier: Apache-2.0
"""New entries of audit logs as they come: the kernel wakes us (inotify), nobody looks in vain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from sbx.errors import HostError
from sbx.store import records
from sbx.store.audit import Log, Record, audit_folder, find_logs
from sbx.store.audit_reader import Tail
from sbx.store.paths import Paths, make_private
from sbx.system.files import private_folder
from sbx.system.inotify import FolderWatch

OnRecords = Callable[[list[tuple[Log, Record]]], None]


def follow(where: Paths, sandbox: str | None, on_records: OnRecords) -> None:
    """Call `on_records` with the lines that are there, then with those that come, for ever.

    Raises:
        HostError: the folders cannot be watched.
    """
    make_private(where)
    private_folder(audit_folder(where))
    try:
        asyncio.run(_Follower(where, sandbox, on_records).run())
    except ExceptionGroup as group:  # of the tasks: the first is what happened
        error = group.exceptions[0]
        if isinstance(error, BrokenPipeError) or not isinstance(error, OSError):
            raise error from None
        raise HostError(
            f"cannot watch the audit log: {error.strerror}",
            hint="The limits are in /proc/sys/fs/inotify; see inotify(7)",
        ) from error


class _Follower:
    def __init__(self, where: Paths, sandbox: str | None, on_records: OnRecords) -> None:
        self._where = where
        self._sandbox = sandbox
        self._on_records = on_records
        self._tails: dict[Log, Tail] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        with contextlib.ExitStack() as stack:
            async with asyncio.TaskGroup() as tasks:
                self._watch(audit_folder(self._where), tasks, stack)
                self._changed.set()
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    self._find(tasks, stack)
                    self._on_records(
                        [(log, one) for log, tail in self._tails.items() for one in tail.read()]
                    )

    def _find(self, tasks: asyncio.TaskGroup, stack: contextlib.ExitStack) -> None:
        """Watch logs that are new, each before it is read; those of removed sandboxes rest."""
        present = set(records.names(self._where))
        for log in find_logs(self._where, self._sandbox):
            if log not in self._tails and log.sandbox in present:
                self._watch(log.folder, tasks, stack)
                self._tails[log] = Tail(log)

    def _watch(self, folder: Path, tasks: asyncio.TaskGroup, stack: contextlib.ExitStack) -> None:
        watch = FolderWatch(folder)
        stack.callback(watch.close)
        tasks.create_task(self._wake(watch), name=f"watch {folder.name}")

    async def _wake(self, watch: FolderWatch) -> None:
        while True:
            await watch.changed()
            self._changed.set()
