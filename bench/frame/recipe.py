# SPDX-License-Identifier: Apache-2.0
"""The bare recipe: the least that a machine from a snapshot takes, in a process that is there.

Copy of the snapshot's memory, QEMU, restore, hot-plug of two disks and one share, and the mounts:
no command line, no supervisor, no record, no control socket.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.frame.suite import Bench
from sbx.agent.control import AgentControl, Assembly, MountSetup
from sbx.lifecycle.identity import nobody
from sbx.lifecycle.warm import shape_of
from sbx.network.link import Network, open_network
from sbx.sandbox import addresses
from sbx.sandbox.spec import Mount, Resources
from sbx.sandbox.units import GIB, MIB
from sbx.system.files import owned_fd
from sbx.vm.disk import create_disk, format_disk, open_disk
from sbx.vm.machine import MachineConfig, start_machine
from sbx.vm.memory import fill, open_memory
from sbx.vm.resources import host_capacity
from sbx.vm.snapshots import Snapshots
from sbx.workspace.share import open_share

_GROWTH_BYTES = 512 * MIB  # to 1 GiB


@dataclass(frozen=True, slots=True)
class Up:
    """A machine of the recipe that is up."""

    seconds: float
    qemu_pid: int
    share_pid: int


def start_seconds(bench: Bench, folder: Path) -> float:
    """How long it takes until the mounts are there."""

    async def once() -> float:
        async with started(bench, folder) as up:
            return up.seconds

    return asyncio.run(once())


@asynccontextmanager
async def started(bench: Bench, folder: Path) -> AsyncIterator[Up]:
    """The machine, for the block; `folder` holds its disk and logs."""
    runtime, tools, template = bench.parts()
    began = time.perf_counter()
    disk = folder / "recipe.img"
    create_disk(disk, 32 * GIB)
    format_disk(disk, runtime)
    accel = bench.accel()
    shape = shape_of(runtime, tools, cpus=host_capacity().cpus, accel=accel)
    mounts = (Mount(source=folder, target=folder, read_only=False, is_file=False),)
    try:
        async with AsyncExitStack() as stack:
            frozen = stack.enter_context(Snapshots(bench.cache).find(shape.key()))
            if frozen is None:
                raise SystemExit("no snapshot: run first bin/sbx setup")
            memory = stack.enter_context(open_memory(shape.more_bytes))
            fill(memory.boot_fd, frozen.ram_fd, memory.boot_bytes)
            network = await stack.enter_async_context(open_network())
            share = await stack.enter_async_context(
                open_share(runtime, mounts, log_path=folder / "recipe-share.log")
            )
            config = MachineConfig(
                runtime=runtime,
                tools=tools,
                accel=accel,
                memory=memory,
                restored=True,
                resources=Resources(cpus=shape.cpus, memory_bytes=GIB, disk_bytes=32 * GIB),
                taps=_taps(network),
                console_log=folder / "recipe-console.log",
            )
            machine = await stack.enter_async_context(start_machine(config))
            await machine.restore(frozen.state_fd)
            await machine.grow(_GROWTH_BYTES)
            with (
                owned_fd(os.open(template.layers[0].path, os.O_RDONLY | os.O_CLOEXEC)) as layer,
                owned_fd(open_disk(disk)) as data,
                share.connect() as sock,
            ):
                await machine.plug_disk(serial="layer0", fd=layer, read_only=True)
                await machine.plug_disk(serial="data", fd=data, read_only=False)
                await machine.plug_share(tag="share", sock=sock)
            await machine.resume()
            agent = await stack.enter_async_context(AgentControl.over(machine.agent_socket))
            await agent.configure(nobody())
            await agent.assemble(_assembly(folder))
            yield Up(time.perf_counter() - began, machine.pid, share.pid)
    finally:
        disk.unlink()


def _taps(network: Network) -> tuple[tuple[int, str], ...]:
    return (
        (network.management_tap, addresses.MANAGEMENT_MAC),
        (network.sandbox_tap, addresses.SANDBOX_MAC),
    )


def _assembly(folder: Path) -> Assembly:
    return Assembly(
        layers=("layer0",),
        data="data",
        data_is_new=True,
        share="share",
        mounts=(MountSetup(index=0, target=str(folder)),),
        user="agent",
        workdir=str(folder),
        env={},
        memory_growth_bytes=_GROWTH_BYTES,
        memory_awaited_bytes=_GROWTH_BYTES,
    )
