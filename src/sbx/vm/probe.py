# SPDX-License-Identifier: Apache-2.0
"""The boot probe: does a kernel really boot under the host's KVM?

A present /dev/kvm proves nothing: nested and para-virtual ones open, make a machine, and then hang
or crash a stock kernel. So the bundle's kernel is booted once, in the same jail as sandboxes, with
an init that says a word made up for this probe and powers off.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from stat import S_IFCHR, S_IFDIR, S_IFREG

from sbx.errors import PermanentError
from sbx.sandbox.parts import RuntimeBundle
from sbx.sandbox.units import MIB
from sbx.system.cpio import CpioEntry, write_cpio
from sbx.system.jail import Jail
from sbx.system.process import CommandError, Completed, run
from sbx.vm.command import KERNEL_ARGUMENTS, KVM_SET, kernel_in_jail, render
from sbx.vm.console import Tail
from sbx.vm.devices import (
    Board,
    Device,
    DirectBoot,
    Hardening,
    KvmProcessor,
    Memory,
    Option,
    PassedFile,
)
from sbx.vm.outcome import describe_exit

PROBE_TIMEOUT_S = 10.0
_MEMORY_BYTES = 256 * MIB
_DETAILS_BYTES = 2000
_BUSYBOX = "usr/bin/busybox"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardConsole:
    """The first serial port on QEMU's standard output."""

    def options(self) -> tuple[Option, ...]:
        return (("-chardev", "stdio,id=console,signal=off"), ("-serial", "chardev:console"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why KVM is not usable: a sentence, and what QEMU said."""

    message: str
    details: str | None = None


def probe_kvm(
    runtime: RuntimeBundle, kvm_fd: int, *, timeout_s: float = PROBE_TIMEOUT_S
) -> Trouble | None:
    """Boot the bundle's kernel under KVM; None if it works, else why it does not.

    Raises:
        PermanentError: the bundle has no busybox or kernel.
        HostError: bubblewrap is not installed.
    """
    token = f"opensbx-probe-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        initramfs = os.memfd_create("probe", os.MFD_CLOEXEC)
        stack.callback(os.close, initramfs)
        with os.fdopen(os.dup(initramfs), "wb") as out:
            write_cpio(out, _initramfs(runtime, token))
        command = Jail(root=runtime.root).command(render(_devices(runtime, initramfs, kvm_fd)))
        try:
            done = run(command, pass_fds=(initramfs, kvm_fd), timeout_s=timeout_s, check=False)
        except CommandError:  # with check=False: the time is over, and the jail was killed
            return Trouble(
                message=f"`/dev/kvm` opens, but a kernel hangs under it (over {timeout_s:g} s)"
            )
    return _judge(done, token)


def _judge(done: Completed, token: str) -> Trouble | None:
    if done.returncode != 0:
        return Trouble(
            message=f"`/dev/kvm` opens, but QEMU fails under it ({describe_exit(done.returncode)})",
            details=_newest(done.stderr),
        )
    if token.encode() not in done.stdout:
        return Trouble(
            message="`/dev/kvm` opens, but a kernel crashes under it", details=_newest(done.stdout)
        )
    return None


def _newest(output: bytes) -> str | None:
    tail = Tail(_DETAILS_BYTES)
    tail.add(output)
    return tail.text().strip() or None


def _devices(runtime: RuntimeBundle, initramfs: int, kvm_fd: int) -> tuple[Device, ...]:

    return (
        Hardening(),
        Board(),
        PassedFile(fd=kvm_fd, set_id=KVM_SET),
        KvmProcessor(cpus=1, kvm_fd_set=KVM_SET),
        Memory(size_bytes=_MEMORY_BYTES),
        DirectBoot(
            kernel=kernel_in_jail(runtime), initramfs_fd=initramfs, arguments=KERNEL_ARGUMENTS
        ),
        StandardConsole(),
    )


def _initramfs(runtime: RuntimeBundle, token: str) -> Iterator[CpioEntry]:
    try:
        busybox = (runtime.root / _BUSYBOX).read_bytes()
    except OSError as error:
        raise PermanentError(
            f"the runtime bundle is damaged: `{_BUSYBOX}`: {error.strerror}", hint="Run: sbx setup"
        ) from error
    yield CpioEntry("dev", S_IFDIR | 0o755)
    yield CpioEntry("dev/console", S_IFCHR | 0o600, device=(5, 1))
    yield CpioEntry("busybox", S_IFREG | 0o755, busybox)
    script = f"#!/busybox sh\necho {token}\n/busybox poweroff -f\n"
    yield CpioEntry("init", S_IFREG | 0o755, script.encode())
