# SPDX-License-Identifier: Apache-2.0
"""Waiting for several things at once, so that none outlives the failure of another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from sbx.errors import HostError, SbxError, TransientError
from sbx.vm.machine import Machine
from sbx.vm.outcome import MachineEnd

T = TypeVar("T")


def machine_ended(end: MachineEnd) -> SbxError:
    """The sentence for a machine that ended by itself."""
    return TransientError(
        f"the virtual machine ended: {end}",
        hint="The disk is kept; start the sandbox again, or see console.log in its folder",
        details="\n".join(filter(None, (end.stderr, end.console))) or None,
    )


async def while_alive(machine: Machine, work: Coroutine[Any, Any, T]) -> T:
    """Await the guest, but not longer than its machine lives.

    Raises:
        HostError: the machine stands still, since the host's disk is full.
        SbxError: the machine ended, with what its console said last.
    """
    async with contextlib.AsyncExitStack() as stack:
        doing = asyncio.create_task(work, name="guest-request")
        ending = asyncio.create_task(machine.wait(), name="machine-end")
        filling = asyncio.create_task(machine.disk_full.wait(), name="disk-full")
        waits = (doing, ending, filling)
        stack.push_async_callback(cancel, *waits)
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if filling.done() and not doing.done():
            raise HostError(
                "no space left for the sandbox's disk while it started",
                hint="Free some disk space, or run: sbx prune --cache",
            )
        if not doing.done():
            raise machine_ended(ending.result())
        return doing.result()


@contextlib.asynccontextmanager
async def together() -> AsyncGenerator[asyncio.TaskGroup]:
    """Run steps side by side; when one fails the others are cancelled, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as steps:
            yield steps
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are over, whatever they raise."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
