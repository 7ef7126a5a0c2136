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
    Hardening,
    HotplugPort,
    KvmProcessor,
    Memory,
    Monitor,
    NetworkCard,
    PassedFile,
    RandomSource,
    SerialConsole,
    TcgProcessor,
    ToolsDisk,
)

PROGRAM = "qemu-system-x86_64"

# panic=-1: reset at once, which ends the machine. cryptomgr.notests: the kernel's self-tests of its
# ciphers took 1.1 s of the 4.6 s of an emulated boot.
KERNEL_ARGUMENTS = ("console=ttyS0", "quiet", "panic=-1", "cryptomgr.notests")

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

    def all(self) -> tuple[int, ...]:
        """The numbers, for the child to inherit."""
        given = (self.console, self.monitor, self.control, self.tools, self.initramfs)
        taps = tuple(fd for fd, _ in self.taps)
        return (*given, *taps) if self.kvm is None else (*given, *taps, self.kvm)


def machine_devices(
    kernel: PurePosixPath, *, cpus: int, memory_bytes: int, fds: MachineDescriptors
) -> tuple[Device, ...]:
    """The devices of a sandbox's machine as it boots; disks and shares are plugged later."""
    processor: tuple[Device, ...] = (TcgProcessor(cpus=cpus),)
    if fds.kvm is not None:
        processor = (
            PassedFile(fd=fds.kvm, set_id=KVM_SET),
            KvmProcessor(cpus=cpus, kvm_fd_set=KVM_SET),
        )
    return (
        Hardening(),
        Board(),
        *processor,
        Memory(size_bytes=memory_bytes),
        DirectBoot(kernel=kernel, initramfs_fd=fds.initramfs, arguments=KERNEL_ARGUMENTS),
        SerialConsole(fd=fds.console),
        Monitor(fd=fds.monitor),
        ControlPort(fd=fds.control),
        PassedFile(fd=fds.tools, set_id=TOOLS_SET),
        ToolsDisk(fd_set=TOOLS_SET),
        *(NetworkCard(index=i, tap_fd=fd, mac=mac) for i, (fd, mac) in enumerate(fds.taps)),
        RandomSource(),
        *(HotplugPort(index=i) for i in range(HOTPLUG_PORTS)),
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
