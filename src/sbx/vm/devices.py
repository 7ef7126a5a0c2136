# SPDX-License-Identifier: Apache-2.0
"""The parts of a machine, one small class each, rendering its own QEMU options.

Nothing here opens or starts anything: numbers of descriptors come in, options go out. No path of
the host appears in any of them, except the kernel's inside the runtime bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

Option = tuple[str, str]  # an option and its value; ("-nodefaults", "") has none

CONTROL_PORT = "org.opensbx.control"  # the guest sees /dev/virtio-ports/<this>
TOOLS_SERIAL = "tools"
MORE_MEMORY = "more"
# One per disk and share that is plugged after the boot: four layers, data, share, and two spare.
HOTPLUG_PORTS = 8


class Device(Protocol):
    """Something that the command line names."""

    def options(self) -> tuple[Option, ...]:
        """QEMU's options for it, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardening:
    """No default devices, no configuration files, and QEMU's own system call filter."""

    def options(self) -> tuple[Option, ...]:
        return (
            ("-nodefaults", ""),
            ("-no-user-config", ""),
            ("-display", "none"),
            ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """q35 without what a headless guest does not use; the HPET stays, kernels calibrate by it.

    A reset ends the machine: the guest's kernel is told to reset when it panics, and a sandbox
    that resets itself would come back without its disks.
    """

    def options(self) -> tuple[Option, ...]:
        board = "q35,sata=off,smbus=off,usb=off,vmport=off,hpet=on,memory-backend=ram"
        return (("-machine", board), ("-no-reboot", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class KvmProcessor:
    """The host's processor. The device comes as a descriptor: /dev/kvm is not in the jail."""

    cpus: int
    kvm_fd_set: int

    def options(self) -> tuple[Option, ...]:
        return (
            ("-accel", f"kvm,device=/dev/fdset/{self.kvm_fd_set}"),
            ("-cpu", "host"),
            ("-smp", str(self.cpus)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TcgProcessor:
    """An emulated processor with all that QEMU can emulate.

    The translation cache is bounded: its default may take 1 GiB of host memory per machine. Without
    ERMS and FSRM, kernel and libc copy memory in words; `rep movsb` is emulated byte by byte.
    """

    cpus: int
    cache_mib: int = 128

    def options(self) -> tuple[Option, ...]:
        threads = "multi" if self.cpus > 1 else "single"
        return (
            ("-accel", f"tcg,thread={threads},tb-size={self.cache_mib}"),
            ("-cpu", "max,-erms,-fsrm"),
            ("-smp", str(self.cpus)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The guest's memory, shareable because virtiofsd maps it. Taken from the host when touched."""

    size_bytes: int

    def options(self) -> tuple[Option, ...]:
        size = f"{self.size_bytes}B"
        return (
            ("-m", size),
            ("-object", f"memory-backend-memfd,id=ram,size={size},share=on"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowingMemory:
    """Memory in files of ours: what the guest boots with, and room that it gets later.

    A file backend and not an anonymous one, although the files are anonymous: only a file's memory
    is left out of a snapshot's stream (`x-ignore-shared`).
    """

    boot_fd: int
    boot_bytes: int
    more_fd: int
    more_bytes: int

    def options(self) -> tuple[Option, ...]:
        boot, more = f"{self.boot_bytes}B", f"{self.more_bytes}B"
        file = "memory-backend-file,share=on,mem-path=/proc/self/fd"
        return (
            ("-m", f"{boot},maxmem={self.boot_bytes + self.more_bytes}B"),
            ("-object", f"{file}/{self.boot_fd},id=ram,size={boot}"),
            ("-object", f"{file}/{self.more_fd},id={MORE_MEMORY}-file,size={more},reserve=off"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryGrowth:
    """The device that gives the guest more memory while it runs."""

    def options(self) -> tuple[Option, ...]:
        return (("-device", f"virtio-mem-pci,id={MORE_MEMORY},memdev={MORE_MEMORY}-file"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreePageReporting:
    """A balloon that is never inflated: through it the guest's kernel tells which pages are free.

    QEMU punches them out of the memory file, so what a program used and freed is the host's again.
    """

    def options(self) -> tuple[Option, ...]:
        return (("-device", "virtio-balloon-pci-non-transitional,free-page-reporting=on"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """Do not boot: wait for a frozen machine's state."""

    def options(self) -> tuple[Option, ...]:
        return (("-incoming", "defer"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectBoot:
    """The kernel by its path in the bundle, the initramfs as a descriptor, the kernel's words."""

    kernel: PurePosixPath
    initramfs_fd: int
    arguments: tuple[str, ...]

    def options(self) -> tuple[Option, ...]:
        return (
            ("-kernel", str(self.kernel)),
            ("-initrd", f"/proc/self/fd/{self.initramfs_fd}"),
            ("-append", " ".join(self.arguments)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialConsole:
    """The first serial port, on a connected socket."""

    fd: int

    def options(self) -> tuple[Option, ...]:
        return (
            ("-chardev", f"socket,id=console,fd={self.fd}"),
            ("-serial", "chardev:console"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """QMP on a connected socket."""

    fd: int

    def options(self) -> tuple[Option, ...]:
        return (
            ("-chardev", f"socket,id=monitor,fd={self.fd}"),
            ("-mon", "chardev=monitor,mode=control"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPort:
    """The virtio-serial port of the guest agent, on a connected socket."""

    fd: int

    def options(self) -> tuple[Option, ...]:
        return (
            ("-device", "virtio-serial-pci-non-transitional,max_ports=2"),
            ("-chardev", f"socket,id=control,fd={self.fd}"),
            ("-device", f"virtserialport,chardev=control,name={CONTROL_PORT}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedFile:
    """A descriptor that QEMU opens as `/dev/fdset/<set_id>`."""

    fd: int
    set_id: int

    def options(self) -> tuple[Option, ...]:
        return (("-add-fd", f"fd={self.fd},set={self.set_id}"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsDisk:
    """The guest root, read-only. The format is named: a raw image must never be probed."""

    fd_set: int

    def options(self) -> tuple[Option, ...]:
        drive = "driver=raw,node-name=tools,read-only=on"
        file = f"file.driver=file,file.filename=/dev/fdset/{self.fd_set}"
        disk = f"virtio-blk-pci-non-transitional,drive=tools,serial={TOOLS_SERIAL}"
        return (("-blockdev", f"{drive},{file}"), ("-device", disk))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCard:
    """A network card on an open TAP. No in-kernel vhost: it would widen an escape's surface."""

    index: int
    tap_fd: int
    mac: str

    def options(self) -> tuple[Option, ...]:
        card = f"virtio-net-pci-non-transitional,netdev=net{self.index},mac={self.mac},romfile="
        return (
            ("-netdev", f"tap,id=net{self.index},fd={self.tap_fd},vhost=off"),
            ("-device", card),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSource:
    """Entropy from getrandom(2) of the host."""

    def options(self) -> tuple[Option, ...]:
        return (
            ("-object", "rng-builtin,id=random"),
            ("-device", "virtio-rng-pci-non-transitional,rng=random"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HotplugPort:
    """A place for one device that is plugged later. No I/O ports: modern virtio needs none."""

    index: int

    def options(self) -> tuple[Option, ...]:
        number = self.index + 1
        port = f"pcie-root-port,id={hotplug_bus(self.index)},chassis={number},slot={number}"
        return (("-device", f"{port},io-reserve=0"),)


def hotplug_bus(index: int) -> str:
    """The name of a hot-plug port's bus."""
    return f"hot{index}"
