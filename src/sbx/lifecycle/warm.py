# SPDX-License-Identifier: Apache-2.0
"""Making the snapshot that starts are restored from: boot once without a sandbox, freeze, keep.

`sbx setup` does it for the default shape. For other shapes a supervisor that had to boot leaves it
to this module run as a program, which works on when nothing else does and belongs to nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from sbx.agent.control import AgentControl
from sbx.errors import PermanentError, SbxError
from sbx.image.store import ImageStore
from sbx.lifecycle.identity import nobody
from sbx.network.link import Network, open_network
from sbx.sandbox import addresses
from sbx.sandbox.parts import Accel, GuestTools, RuntimeBundle
from sbx.sandbox.spec import AccelChoice, Resources
from sbx.system.files import owned_fd
from sbx.system.process import OWN_SOURCE, popen
from sbx.system.progress import Progress
from sbx.vm.accel import choose_accel
from sbx.vm.machine import MachineConfig, start_machine
from sbx.vm.memory import GuestMemory, open_memory, room_bytes, save
from sbx.vm.resources import check_memory_free, host_capacity
from sbx.vm.snapshots import RAM, STATE, Shape, Snapshots, host_processor

log = logging.getLogger(__name__)

_BOOT_TIMEOUT_S = 300.0  # the program in the background gives way to everything else
_CONSOLE_LOG = "console.log"


def shape_of(runtime: RuntimeBundle, tools: GuestTools, *, cpus: int, accel: Accel) -> Shape:
    """What a machine of these parts is restored from on this host."""
    return Shape(
        runtime=runtime,
        tools=tools,
        cpus=cpus,
        accel=accel,
        processor=host_processor(accel),
        more_bytes=room_bytes(host_capacity().memory_bytes),
    )


def prepare(cache: Path, progress: Progress) -> bool:
    """Make the snapshot for the default shape if it is missing; False if it could not be made.

    Nothing depends on it but the time that a start takes.
    """
    bundle, tools = ImageStore(cache).prepare_machine(progress)
    accel = choose_accel(AccelChoice.AUTO, bundle, cache).accel
    shape = shape_of(bundle, tools, cpus=host_capacity().cpus, accel=accel)
    with Snapshots(cache).find(shape.key()) as found:
        if found is not None:
            return True
    progress.begin("warm start: boot once and freeze")
    try:
        made = asyncio.run(make(cache, shape))
    except SbxError as error:
        log.warning("no snapshot for warm starts: %s\n%s", error.message, error.details or "")
        return False
    progress.end()
    return made


async def make(cache: Path, shape: Shape) -> bool:
    """Make the snapshot; False if somebody else is making one just now.

    Raises:
        SbxError: the machine does not come up, or there is no room.
    """
    snapshots = Snapshots(cache)
    with snapshots.building() as folder:
        if folder is None:
            return False
        check_memory_free(_resources(shape), host_capacity())
        with open_memory(shape.more_bytes) as memory:
            async with open_network() as network:
                await _freeze(shape, memory, network, folder)
            # The machine is gone, so that its memory does not change any more.
            await asyncio.to_thread(_save, memory, folder)
        await asyncio.to_thread(snapshots.publish, folder, shape)
    return True


async def _freeze(shape: Shape, memory: GuestMemory, network: Network, folder: Path) -> None:
    config = MachineConfig(
        runtime=shape.runtime,
        tools=shape.tools,
        resources=_resources(shape),
        accel=shape.accel,
        taps=(
            (network.management_tap, addresses.MANAGEMENT_MAC),
            (network.sandbox_tap, addresses.SANDBOX_MAC),
        ),
        console_log=folder / _CONSOLE_LOG,
        memory=memory,
    )
    async with start_machine(config) as machine, AgentControl.over(machine.agent_socket) as agent:
        try:
            async with asyncio.timeout(_BOOT_TIMEOUT_S):
                await agent.ready()
                await agent.configure(nobody())  # what every sandbox needs, done once
                await agent.trim()
                with owned_fd(_new_file(folder / STATE)) as state:
                    await machine.freeze(state)
        except TimeoutError as error:
            raise PermanentError(
                "no snapshot within its time", details=machine.console_tail()
            ) from error
    (folder / _CONSOLE_LOG).unlink(missing_ok=True)


def _save(memory: GuestMemory, folder: Path) -> None:
    with owned_fd(_new_file(folder / RAM)) as ram:
        size = save(memory.boot_fd, ram, memory.boot_bytes)
    log.info("frozen: %d MiB of memory", size >> 20)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _resources(shape: Shape) -> Resources:
    return Resources(cpus=shape.cpus, memory_bytes=512 << 20, disk_bytes=0)


def make_in_background(cache: Path, *, cpus: int, accel: Accel) -> None:
    """Let a program of its own make the snapshot, without waiting for it."""
    args = [sys.executable, "-P", "-m", "sbx.lifecycle.warm", str(cache), str(cpus), accel.value]
    child = popen(
        args,
        env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(OWN_SOURCE)},
        cwd=Path("/"),
        new_session=True,
    )
    child.wait()  # it forks and leaves the parent at once, so that nobody has to reap it


def main() -> None:
    """The program: fork, give way to everything else, make the snapshot."""
    parser = argparse.ArgumentParser(prog="sbx-warm")
    parser.add_argument("cache", type=Path)
    parser.add_argument("cpus", type=int)
    parser.add_argument("accel", type=Accel)
    args = parser.parse_args()
    if os.fork() != 0:
        os._exit(0)
    os.umask(0o077)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(SbxError, asyncio.CancelledError):
        asyncio.run(_main(args.cache, args.cpus, args.accel))


async def _main(cache: Path, cpus: int, accel: Accel) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    store = ImageStore(cache)
    runtime, tools = store.runtime(), store.tools()
    if runtime is None or tools is None:
        return
    shape = shape_of(runtime, tools, cpus=cpus, accel=accel)
    if not Snapshots(cache).has(shape.key()):
        await make(cache, shape)


if __name__ == "__main__":
    main()
