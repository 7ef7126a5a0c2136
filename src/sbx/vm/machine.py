# SPDX-License-Identifier: Apache-2.0
"""One running virtual machine: QEMU in a jail, from its start to its end.

`start_machine` boots it and yields a `Machine`; leaving the block ends it, however it was left.
A machine that is restored from a snapshot instead of booted has its place here: that changes how
QEMU gets to run, and nothing that a `Machine` offers, because disks and shares are plugged later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sbx.errors import ConflictError, PermanentError, SbxError, TransientError
from sbx.sandbox.parts import Accel, GuestTools, RuntimeBundle
from sbx.sandbox.spec import Resources
from sbx.system.files import owned_fd
from sbx.system.jail import Jail
from sbx.system.leftovers import jail_mark
from sbx.system.pidfd import ProcessHandle, last_descendant
from sbx.system.process import base_env, spawn
from sbx.vm.command import MachineDescriptors, kernel_in_jail, machine_devices, render
from sbx.vm.console import Capture, ConsoleLog
from sbx.vm.devices import HOTPLUG_PORTS, MORE_MEMORY, hotplug_bus
from sbx.vm.endpoints import Endpoints, open_endpoints
from sbx.vm.memory import GuestMemory
from sbx.vm.outcome import MachineEnd
from sbx.vm.qmp import Qmp, Refused, open_qmp
from sbx.vm.watch import Watch

log = logging.getLogger(__name__)

_LOCKED = re.compile(r'Failed to get .*"?write"? lock')

START_TIMEOUT_S = 30.0  # until QEMU answers; the guest's boot is not in it


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig:
    """What a machine is made of."""

    runtime: RuntimeBundle
    tools: GuestTools
    resources: Resources
    accel: Accel
    taps: tuple[tuple[int, str], ...]  # an open TAP and a hardware address for each network card
    console_log: Path
    memory: GuestMemory | None = None  # files of ours, so that it can be frozen and restored
    restored: bool = False  # do not boot: `Machine.restore` comes next


class Machine:
    """A machine that runs, or has ended."""

    def __init__(
        self, qmp: Qmp, process: ProcessHandle, agent_socket: socket.socket, watch: Watch
    ) -> None:
        self.agent_socket = agent_socket  # our end of the virtio-serial port, non-blocking
        self._qmp = qmp
        self._process = process
        self._watch = watch
        self._plugging = asyncio.Lock()
        self._ports_used = 0

    @property
    def pid(self) -> int:
        """QEMU's own number on the host, not that of the jail around it."""
        return self._process.pid

    @property
    def ended(self) -> asyncio.Event:
        """Set when QEMU has ended."""
        return self._watch.ended

    @property
    def disk_full(self) -> asyncio.Event:
        """Set while it stands still because the host has no space for its disk (see `resume`)."""
        return self._watch.disk_full

    @property
    def is_disk_full(self) -> bool:
        """Whether it stands still for want of space."""
        return self._watch.disk_full.is_set()

    def console_tail(self) -> str:
        """The end of the serial console so far, terminal control taken out."""
        return self._watch.console.tail.text()

    async def wait(self) -> MachineEnd:
        """Wait for the end of the machine and say how it ended."""
        await self._watch.ended.wait()
        await self._qmp.drained()
        return await self._watch.end()

    async def plug_disk(self, *, serial: str, fd: int, read_only: bool) -> None:
        """Plug an open file as a virtio disk with this serial; the caller keeps its descriptor.

        Raises:
            ConflictError: another machine uses the file.
            PermanentError, TransientError: QEMU refused, or is gone.
        """
        node = f"disk-{serial}"
        async with self._next_port() as bus, AsyncExitStack() as undo:
            fd_set = await self._qmp.pass_file(fd)
            undo.push_async_callback(_quietly, lambda: self._qmp.drop_file(fd_set))
            await self._qmp.add_raw_disk(node, fd_set, read_only=read_only)
            undo.push_async_callback(_quietly, lambda: self._qmp.remove_disk(node))
            try:
                await self._qmp.plug_block_device(
                    device=f"device-{serial}", node=node, bus=bus, serial=serial
                )
            except Refused as error:
                # QEMU locks the file (fcntl(2), F_OFD_SETLK) when a device begins to use it.
                if not _LOCKED.search(error.message):
                    raise
                raise ConflictError(
                    f"disk is in use by another machine: `{serial}`", details=error.message
                ) from error
            undo.pop_all()

    async def grow_disk(self, *, serial: str, size_bytes: int) -> None:
        """Make a plugged disk and its file larger, while the guest uses it.

        Raises:
            PermanentError, TransientError: QEMU refused, or is gone.
        """
        await self._qmp.resize_disk(f"disk-{serial}", size_bytes)

    async def plug_share(self, *, tag: str, sock: socket.socket) -> None:
        """Plug a virtio-fs device served at the other end of `sock`; the caller closes its copy.

        Raises:
            PermanentError, TransientError: QEMU refused, or is gone, or the server hung up.
        """
        backend = f"share-{tag}"
        async with self._next_port() as bus, AsyncExitStack() as undo:
            await self._qmp.pass_socket(backend, sock.fileno())
            await self._qmp.add_socket_backend(backend, backend)
            undo.push_async_callback(_quietly, lambda: self._qmp.remove_socket_backend(backend))
            await self._qmp.plug_share(device=f"device-{tag}", backend=backend, bus=bus, tag=tag)
            undo.pop_all()

    async def freeze(self, state_fd: int) -> None:
        """Stop the machine for good and write all but its memory to an empty file.

        Raises:
            PermanentError, TransientError: QEMU refused, failed, or is gone.
        """
        await self._qmp.pause()
        fd_set = await self._qmp.pass_file(state_fd)
        await self._qmp.begin_migration()
        await self._qmp.save_state(fd_set)
        await self._migrated("freeze")

    async def restore(self, state_fd: int) -> None:
        """Read what `freeze` wrote; the machine then stands still until `resume`.

        Raises:
            PermanentError, TransientError: it does not fit, or QEMU is gone.
        """
        fd_set = await self._qmp.pass_file(state_fd)
        await self._qmp.begin_migration()
        await self._qmp.load_state(fd_set)
        await self._migrated("restore")

    async def grow(self, size_bytes: int) -> None:
        """Offer the guest so much memory beyond what it booted with."""
        await self._qmp.request_memory(MORE_MEMORY, size_bytes)

    async def resume(self) -> None:
        """Let the machine run on: restored, or after space was made for its disk."""
        await self._qmp.resume()

    async def power_down(self) -> None:
        """Press the power button; the guest may ignore it."""
        await self._qmp.power_down()

    async def quit(self) -> None:
        """End QEMU in order: what the guest has written reaches the disk files."""
        await self._qmp.quit()

    def signal(self, number: signal.Signals) -> None:
        """Send QEMU a signal; the jail around it ends with it."""
        self._process.signal(number)

    async def _migrated(self, what: str) -> None:
        migration = self._watch.migration
        over = asyncio.create_task(migration.over.wait(), name=what)
        gone = asyncio.create_task(self._watch.ended.wait(), name="machine-end")
        try:
            await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            gone.cancel()
        if not migration.is_complete:
            raise TransientError(f"QEMU failed to {what} the machine")

    @asynccontextmanager
    async def _next_port(self) -> AsyncGenerator[str]:
        """A free port, used up only if the block succeeds; one plug at a time."""
        async with self._plugging:
            if self._ports_used == HOTPLUG_PORTS:
                raise PermanentError(f"all {HOTPLUG_PORTS} hot-plug ports of the machine are taken")
            yield hotplug_bus(self._ports_used)
            self._ports_used += 1


@asynccontextmanager
async def start_machine(config: MachineConfig) -> AsyncGenerator[Machine]:
    """Start QEMU and boot the guest; at the end of the block it is killed if it still runs.

    Raises:
        HostError: no bubblewrap, no namespaces, no KVM, no memory, no descriptors.
        PermanentError: QEMU does not start; the details hold what it said.
    """
    async with AsyncExitStack() as stack:
        with ExitStack() as handed_over:
            ends = open_endpoints(
                config.tools, config.accel, config.taps, ours=stack, theirs=handed_over
            )
            watch = await _start_qemu(stack, config, ends)
        try:
            qmp = await stack.enter_async_context(
                open_qmp(ends.monitor, watch.on_event, timeout_s=START_TIMEOUT_S)
            )
            # QEMU has answered, so all processes of the jail, down to QEMU itself, exist.
            watch.qemu = ProcessHandle(last_descendant(watch.jail_pid))
        except TransientError as error:
            raise await watch.failure(error) from error
        log.info("machine runs: pid %d, %s", watch.qemu.pid, config.accel)
        yield Machine(qmp, watch.qemu, ends.control, watch)


async def _start_qemu(stack: AsyncExitStack, config: MachineConfig, ends: Endpoints) -> Watch:
    """Start QEMU with a reader on its console and on its standard error."""
    loop = asyncio.get_running_loop()
    console_log = ConsoleLog(config.console_log)
    stack.callback(console_log.close)
    console, stderr = Capture(console_log), Capture()
    transport, _ = await loop.create_unix_connection(lambda: console, sock=ends.console)
    stack.callback(transport.close)
    pipe, _ = await loop.connect_read_pipe(lambda: stderr, ends.stderr)
    stack.callback(pipe.close)
    alive, ours = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, ours)
    with owned_fd(alive):
        process = await spawn(
            _command(config, ends.inherited, alive),
            env={**base_env(), **jail_mark(config.console_log.parent)},
            stdout=ends.stderr_writer,
            stderr=ends.stderr_writer,
            pass_fds=(*ends.inherited.all(), *_memory_fds(config), alive),
        )
    watch = Watch(process, console=console, stderr=stderr)
    stack.push_async_callback(watch.kill)
    return watch


def _command(config: MachineConfig, inherited: MachineDescriptors, alive: int) -> list[str]:
    if config.memory is not None:
        inherited = replace(inherited, memory=config.memory)
    devices = machine_devices(
        kernel_in_jail(config.runtime),
        cpus=config.resources.cpus,
        memory_bytes=config.resources.memory_bytes,
        fds=inherited,
        incoming=config.restored,
    )
    return Jail(root=config.runtime.root, alive_fd=alive).command(render(devices))


def _memory_fds(config: MachineConfig) -> tuple[int, ...]:
    return () if config.memory is None else (config.memory.boot_fd, config.memory.more_fd)


async def _quietly(undo: Callable[[], Awaitable[None]]) -> None:
    """Undo a step; the error that made it necessary is the one to be told."""
    try:
        await undo()
    except SbxError as error:
        log.debug("undo failed: %s", error)
