# SPDX-License-Identifier: Apache-2.0
"""A machine with its agent awake: restored from a snapshot, or booted when that cannot be.

No start may fail because of a snapshot: one that does not come up is removed, and the guest boots.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, replace

from sbx.agent.control import AgentControl
from sbx.errors import SbxError, TransientError
from sbx.lifecycle.warm import shape_of
from sbx.sandbox.parts import Accel
from sbx.sandbox.units import GIB
from sbx.supervisor import readiness
from sbx.supervisor.alive import while_alive
from sbx.supervisor.events import Events
from sbx.supervisor.plan import Parts, Plan
from sbx.system.files import owned_fd
from sbx.vm.machine import Machine, MachineConfig, start_machine
from sbx.vm.memory import BOOT_BYTES, GuestMemory, fill, open_memory
from sbx.vm.snapshots import Frozen, Snapshots

log = logging.getLogger(__name__)

# Under emulation a guest takes 8 GiB in about a third of a second, on every processor it has. What
# is beyond this comes when the sandbox is up, so that a start does not depend on `--memory`.
_FIRST_GROWTH_BYTES = 4 * GIB - BOOT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A snapshot that fits, and memory for a machine that is restored from it."""

    frozen: Frozen
    memory: GuestMemory
    snapshots: Snapshots

    def growth_bytes(self, promised_bytes: int) -> int:
        """How much the machine gets beyond what it was frozen with."""
        return max(promised_bytes - self.memory.boot_bytes, 0)

    def give_up(self, events: Events, why: str, details: str | None = None) -> None:
        """Remove the snapshot and tell: the guest is booted instead."""
        self.snapshots.remove(self.frozen.key)
        log.warning("no warm start, booting instead: %s\n%s", why, details or "")
        events.write("snapshot-failed", message=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Awake:
    """A machine whose agent answers."""

    machine: Machine
    agent: AgentControl
    is_restored: bool
    growth_bytes: int = 0  # the memory that it gets beyond what it woke with
    first_growth_bytes: int = 0  # the part of it that is there before anything runs

    async def grow(self) -> None:
        """Offer the rest of the memory, once the sandbox is up: the guest takes it in a moment."""
        if self.growth_bytes > self.first_growth_bytes:
            await self.machine.grow(self.growth_bytes)


async def fill_memory(warm: Warm | None, events: Events) -> Warm | None:
    """Copy the snapshot's memory for this machine; None if there is nothing to restore it from."""
    if warm is None:
        return None
    # A thread cannot be cancelled: it gets descriptors of its own, which nobody else closes.
    ours = (os.dup(warm.memory.boot_fd), os.dup(warm.frozen.ram_fd))
    try:
        async with events.phase(readiness.MEMORY):
            await asyncio.to_thread(_fill_and_close, *ours, warm.memory.boot_bytes)
    except (OSError, EOFError) as error:
        warm.give_up(events, f"its memory cannot be read: {error}")
        return None
    return warm


def _fill_and_close(memory_fd: int, ram_fd: int, size_bytes: int) -> None:
    with owned_fd(memory_fd), owned_fd(ram_fd):
        fill(memory_fd, ram_fd, size_bytes)


@contextlib.contextmanager
def find_warm(plan: Plan, parts: Parts, accel: Accel) -> Generator[Warm | None]:
    """The snapshot for this sandbox's machine, with empty memory; None if there is none."""
    cpus = plan.spec.resources.cpus
    shape = shape_of(parts.runtime, parts.tools, cpus=cpus, accel=accel)
    snapshots = Snapshots(plan.where.cache)
    with snapshots.find(shape.key()) as frozen:
        if frozen is None:
            yield None
            return
        with open_memory(shape.more_bytes) as memory:
            yield Warm(frozen=frozen, memory=memory, snapshots=snapshots)


@contextlib.asynccontextmanager
async def wake(
    config: MachineConfig,
    warm: Warm | None,
    events: Events,
    on_machine: Callable[[Machine], None],
) -> AsyncGenerator[Awake]:
    """A machine whose agent answers, for the block; `on_machine` is told of each that starts.

    Raises:
        SbxError: it does not boot.
    """
    async with contextlib.AsyncExitStack() as stack:
        awake = None
        if warm is not None:
            awake = await _try_restore(config, warm, events, on_machine, stack)
        if awake is None:
            awake = await _boot(config, events, on_machine, stack)
        yield awake


async def _boot(
    config: MachineConfig,
    events: Events,
    on_machine: Callable[[Machine], None],
    stack: contextlib.AsyncExitStack,
) -> Awake:
    """Boot, and once more if an emulated machine hung or crashed before anything was in it."""
    for attempts_left in (1, 0):
        try:
            async with contextlib.AsyncExitStack() as trial:
                async with events.phase(readiness.MACHINE):
                    machine = await trial.enter_async_context(start_machine(config))
                    on_machine(machine)
                async with events.phase(readiness.BOOT):
                    agent = await trial.enter_async_context(AgentControl.over(machine.agent_socket))
                    await while_alive(machine, agent.ready())
                stack.push_async_exit(trial.pop_all())
                return Awake(machine=machine, agent=agent, is_restored=False)
        except TransientError as error:
            if config.accel is not Accel.TCG or not attempts_left:
                raise
            log.warning("the machine did not boot, trying again: %s", error.message)
            events.write("boot-failed", message=error.message)
    raise AssertionError("the last attempt returns or raises")


async def _try_restore(
    config: MachineConfig,
    warm: Warm,
    events: Events,
    on_machine: Callable[[Machine], None],
    stack: contextlib.AsyncExitStack,
) -> Awake | None:
    restored = replace(config, memory=warm.memory, restored=True)
    try:
        async with contextlib.AsyncExitStack() as trial, events.phase(readiness.RESTORE):
            machine = await trial.enter_async_context(start_machine(restored))
            on_machine(machine)
            await machine.restore(warm.frozen.state_fd)
            growth_bytes = warm.growth_bytes(config.resources.memory_bytes)
            first_growth_bytes = min(growth_bytes, _FIRST_GROWTH_BYTES)
            await machine.grow(first_growth_bytes)
            await machine.resume()
            agent = await trial.enter_async_context(AgentControl.over(machine.agent_socket))
            await while_alive(machine, agent.ready())
            stack.push_async_exit(trial.pop_all())
            return Awake(
                machine=machine,
                agent=agent,
                is_restored=True,
                growth_bytes=growth_bytes,
                first_growth_bytes=first_growth_bytes,
            )
    except SbxError as error:
        warm.give_up(events, error.message, error.details)
        return None
