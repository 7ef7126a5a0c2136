# SPDX-License-Identifier: Apache-2.0
"""Waiting for several things at once, so that none outlives the failure of another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from sbx.errors import SbxError, TransientError
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
        SbxError: the machine ended, with what its console said last.
    """
    async with contextlib.AsyncExitStack() as stack:
        doing = asyncio.create_task(work, name="guest-request")
        ending = asyncio.create_task(machine.wait(), name="machine-end")
        stack.push_async_callback(cancel, doing, ending)
        await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
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
