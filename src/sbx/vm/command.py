# SPDX-License-Identifier: Apache-2.0
"""QEMU's command line: which devices a machine has, and how they become arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from sbx.errors import PermanentError
from sbx.sandbox.parts import RuntimeBundle
from sbx.vm.devices import (
    HOTPLUG_PORTS,
    Board,
    ControlPort,
    Device,
    DirectBoot,
    FreePageReporting,
    GrowingMemory,
    Hardening,
    HotplugPort,
    Incoming,
    KvmProcessor,
    Memory,
    MemoryGrowth,
    Monitor,
    NetworkCard,
    PassedFile,
    RandomSource,
    SerialConsole,
    TcgProcessor,
    ToolsDisk,
)
from sbx.vm.memory import GuestMemory

PROGRAM = "qemu-system-x86_64"

# panic=-1: reset at once, which ends the machine. cryptomgr.notests: the kernel's self-tests of its
# ciphers took 1.1 s of the 4.6 s of an emulated boot. tsc=reliable: its clock is not compared with
# another one, which would wake an idle machine twice a second, and distrust it after a pause.
# nowatchdog: it wakes an idle machine too, and a host that was busy is not a guest that hangs.
KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "quiet",
    "panic=-1",
    "cryptomgr.notests",
    "tsc=reliable",
    "nowatchdog",
)
# The other processors are brought on line by the agent when all devices are there: an emulated
# machine may lose the end of an interrupt when one processor touches its APIC while another maps a
# device, and then that processor sleeps for ever (docs/machine.md, "One processor at first").
EMULATED_ARGUMENTS = ("maxcpus=1",)
# Memory that comes later is used for everything, at once: nothing is ever taken away again.
GROWTH_ARGUMENTS = ("memhp_default_state=online",)

TOOLS_SET, KVM_SET = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDescriptors:
    """The descriptors that QEMU inherits, by their numbers."""

    console: int
    monitor: int
    control: int
    tools: int
    initramfs: int
    kvm: int | None  # None: emulate
    taps: tuple[tuple[int, str], ...]  # descriptor and hardware address of each card
    memory: GuestMemory | None = None  # None: QEMU makes its own

    def all(self) -> tuple[int, ...]:
        """The numbers, for the child to inherit."""
        given = (self.console, self.monitor, self.control, self.tools, self.initramfs)
        taps = tuple(fd for fd, _ in self.taps)
        return (*given, *taps) if self.kvm is None else (*given, *taps, self.kvm)


def machine_devices(
    kernel: PurePosixPath,
    *,
    cpus: int,
    memory_bytes: int,
    fds: MachineDescriptors,
    incoming: bool = False,
) -> tuple[Device, ...]:
    """The devices of a sandbox's machine as it boots; disks and shares are plugged later.

    With memory that can grow, `memory_bytes` does not count: a restored machine is told its size.
    """
    processor: tuple[Device, ...] = (TcgProcessor(cpus=cpus),)
    if fds.kvm is not None:
        processor = (
            PassedFile(fd=fds.kvm, set_id=KVM_SET),
            KvmProcessor(cpus=cpus, kvm_fd_set=KVM_SET),
        )
    memory = fds.memory
    return (
        Hardening(),
        Board(),
        *processor,
        Memory(size_bytes=memory_bytes) if memory is None else _growing(memory),
        DirectBoot(
            kernel=kernel,
            initramfs_fd=fds.initramfs,
            arguments=(
                *KERNEL_ARGUMENTS,
                *(EMULATED_ARGUMENTS if fds.kvm is None else ()),
                *(GROWTH_ARGUMENTS if memory is not None else ()),
            ),
        ),
        SerialConsole(fd=fds.console),
        Monitor(fd=fds.monitor),
        ControlPort(fd=fds.control),
        PassedFile(fd=fds.tools, set_id=TOOLS_SET),
        ToolsDisk(fd_set=TOOLS_SET),
        *(NetworkCard(index=i, tap_fd=fd, mac=mac) for i, (fd, mac) in enumerate(fds.taps)),
        RandomSource(),
        FreePageReporting(),
        *(HotplugPort(index=i) for i in range(HOTPLUG_PORTS)),
        *(() if memory is None else (MemoryGrowth(),)),
        *((Incoming(),) if incoming else ()),
    )


def _growing(memory: GuestMemory) -> GrowingMemory:
    return GrowingMemory(
        boot_fd=memory.boot_fd,
        boot_bytes=memory.boot_bytes,
        more_fd=memory.more_fd,
        more_bytes=memory.more_bytes,
    )


def render(devices: Iterable[Device]) -> list[str]:
    """The argument list of QEMU for these devices."""
    args = [PROGRAM]
    for device in devices:
        for option, value in device.options():
            args += [option, value] if value else [option]
    return args


def kernel_in_jail(runtime: RuntimeBundle) -> PurePosixPath:
    """Where the kernel lies when the bundle's tree is `/`.

    Raises:
        PermanentError: the kernel is not in the bundle.
    """
    if not runtime.kernel.is_relative_to(runtime.root):
        raise PermanentError(f"the kernel is not in the runtime bundle: `{runtime.kernel}`")
    return PurePosixPath("/") / runtime.kernel.relative_to(runtime.root)
