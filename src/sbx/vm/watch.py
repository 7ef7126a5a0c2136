# SPDX-License-Identifier: Apache-2.0
"""Watching a machine's processes: what they say, how they end, and that they do end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from sbx.errors import HostError, PermanentError, SbxError
from sbx.system.pidfd import ProcessHandle
from sbx.vm.console import Capture
from sbx.vm.outcome import MachineEnd, describe_exit, judge_end
from sbx.vm.qmp import EventKind, MachineEvent

log = logging.getLogger(__name__)

_KILL_TIMEOUT_S = 10.0  # longer only if the host's kernel hangs
_LAST_WORDS_TIMEOUT_S = 2.0


class Migration:
    """Waits for the end of writing or reading a machine's state."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.is_complete = False

    def tell(self, status: str) -> None:
        """QEMU told its MigrationStatus."""
        if status in ("completed", "failed", "cancelled"):
            self.is_complete = status == "completed"
            self.over.set()


class Watch:
    """The jail with QEMU in it."""

    def __init__(
        self, process: asyncio.subprocess.Process, *, console: Capture, stderr: Capture
    ) -> None:
        self.ended = asyncio.Event()
        self.disk_full = asyncio.Event()  # until it runs again
        self.migration = Migration()
        self.console = console
        self.qemu: ProcessHandle | None = None  # known once QEMU has answered
        self._stderr = stderr
        self._process = process
        self._shutdown: str | None = None
        self._waiter = asyncio.create_task(process.wait(), name="end of the machine")
        self._waiter.add_done_callback(lambda _: self.ended.set())

    @property
    def jail_pid(self) -> int:
        """The outermost process of the jail."""
        return self._process.pid

    def on_event(self, event: MachineEvent) -> None:
        """Remember what matters when it comes to the end."""
        match event.kind:
            case EventKind.SHUTDOWN:
                self._shutdown = self._shutdown or event.reason
            case EventKind.PANICKED:
                self._shutdown = "guest-panic"
            case EventKind.DISK_ERROR:
                if event.no_space:
                    self.disk_full.set()
                log.warning("disk error, host's disk is full: %s", event.no_space)
            case EventKind.RESUMED:
                self.disk_full.clear()
            case EventKind.MIGRATION:
                self.migration.tell(event.status or "")
            case EventKind.STOPPED:
                log.info("machine stands still")

    async def end(self) -> MachineEnd:
        """How it ended; call it after `ended`."""
        await self._last_words()
        status = self._waiter.result()
        console = self.console.tail.text()
        return MachineEnd(
            reason=judge_end(self._shutdown, status, console),
            exit_status=status,
            console=console,
            stderr=self._stderr.tail.text(),
        )

    async def kill(self) -> None:
        """Kill what still runs, from the inside out, and wait until all of it is gone."""
        if self.qemu is not None:
            self.qemu.signal(signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_TIMEOUT_S):
                    await self.ended.wait()
            self.qemu.close()
        await self._kill_jail()

    async def _kill_jail(self) -> None:
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        try:
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                await self.ended.wait()
                # What is in the jail dies a moment after it, and holds this pipe until then.
                await self._stderr.ended.wait()
        except TimeoutError:
            log.exception("machine does not end after SIGKILL: pid %d", self._process.pid)

    async def failure(self, cause: SbxError) -> SbxError:
        """The error for a start that failed because of `cause`, with QEMU's own words."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_TIMEOUT_S):
                await self.ended.wait()
        if not self.ended.is_set():
            words = self._stderr.tail.text()
            return PermanentError(f"the machine does not start: {cause.message}", details=words)
        return explain_failure(self._waiter.result(), (await self.end()).stderr)

    async def _last_words(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_TIMEOUT_S):
                await self.console.ended.wait()
                await self._stderr.ended.wait()


def explain_failure(exit_status: int, stderr: str) -> SbxError:
    """The error for a QEMU that ended before it was ready, from its status and words."""
    details = stderr.strip() or None
    if stderr.startswith("bwrap:"):
        return HostError(
            "the jail for the machine cannot be made", hint="Run: sbx diagnose", details=details
        )
    if "Cannot allocate memory" in stderr:
        return HostError(
            "not enough memory for the machine",
            hint="Use a smaller --memory, or stop another sandbox",
            details=details,
        )
    return PermanentError(
        f"the machine does not start: QEMU ended with {describe_exit(exit_status)}",
        hint="Run: sbx diagnose",
        details=details,
    )
