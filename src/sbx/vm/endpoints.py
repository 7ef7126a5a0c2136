# SPDX-License-Identifier: Apache-2.0
"""What a machine is connected to: open files and connected sockets, ours and QEMU's ends.

Everything is made before QEMU starts and inherited, so nothing has a name that another process
could use, and nobody waits for a socket to appear.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sbx.errors import HostError, PermanentError
from sbx.sandbox.parts import Accel, GuestTools
from sbx.system.fds import socket_pair
from sbx.vm.command import MachineDescriptors

KVM_DEVICE = Path("/dev/kvm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Our ends, and the numbers of QEMU's."""

    console: socket.socket
    monitor: socket.socket
    control: socket.socket
    stderr: IO[bytes]  # we read
    stderr_writer: int
    inherited: MachineDescriptors


def open_endpoints(
    tools: GuestTools,
    accel: Accel,
    taps: Sequence[tuple[int, str]],
    *,
    ours: AsyncExitStack,
    theirs: ExitStack,
) -> Endpoints:
    """Open everything; `ours` closes our ends, `theirs` QEMU's, which only its start needs.

    Raises:
        PermanentError: a part of the guest tools is missing.
        HostError: /dev/kvm cannot be opened, or there are no descriptors left.
    """
    kvm = open_kvm() if accel is Accel.KVM else None
    if kvm is not None:
        theirs.callback(os.close, kvm)
    try:
        console, console_end = _pair(ours, theirs)
        monitor, monitor_end = _pair(ours, theirs)
        control, control_end = _pair(ours, theirs)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        theirs.callback(os.close, writer)
        stderr = ours.enter_context(os.fdopen(reader, "rb", buffering=0))
    except OSError as error:
        raise HostError(f"cannot make the machine's connections: {error.strerror}") from error
    return Endpoints(
        console=console,
        monitor=monitor,
        control=control,
        stderr=stderr,
        stderr_writer=writer,
        inherited=MachineDescriptors(
            console=console_end,
            monitor=monitor_end,
            control=control_end,
            tools=_open_part(tools.image, theirs),
            initramfs=_open_part(tools.initramfs, theirs),
            kvm=kvm,
            taps=tuple(taps),
        ),
    )


def open_kvm() -> int:
    """Open the host's KVM device; the caller closes it.

    Raises:
        HostError: there is none, or we may not use it; the two have different remedies.
    """
    try:
        return os.open(KVM_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise HostError(
            f"no hardware virtualisation: `{KVM_DEVICE}` is not there",
            hint="Enable virtualisation in the firmware, or nested virtualisation if this is a "
            "virtual machine, and load the module: sudo modprobe kvm_amd or kvm_intel",
        ) from error
    except PermissionError as error:
        raise HostError(
            f"no permission to use hardware virtualisation: `{KVM_DEVICE}`",
            hint="Join its group, then log in again: sudo usermod -aG kvm $USER",
        ) from error
    except OSError as error:
        raise HostError(
            f"hardware virtualisation cannot be used: `{KVM_DEVICE}`: {error.strerror}"
        ) from error


def _pair(ours: AsyncExitStack, theirs: ExitStack) -> tuple[socket.socket, int]:
    near, far = socket_pair()
    ours.callback(near.close)
    theirs.callback(far.close)
    near.settimeout(0)  # non-blocking
    return near, far.fileno()


def _open_part(path: Path, theirs: ExitStack) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PermanentError(
            f"part of the guest tools is missing: `{path}`: {error.strerror}",
            hint="Run: sbx setup",
        ) from error
    theirs.callback(os.close, fd)
    return fd
