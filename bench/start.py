# SPDX-License-Identifier: Apache-2.0
"""How long a sandbox takes to start: warm, again, cold; and whether `--memory` matters."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_IFCHR, S_IFDIR, S_IFREG

from bench.frame.recipe import start_seconds
from bench.frame.rows import Curve, Finding, Row, in_turns
from bench.frame.suite import Bench, create
from sbx.lifecycle.warm import prepare
from sbx.sandbox.parts import Accel
from sbx.sandbox.units import MIB
from sbx.system.cpio import CpioEntry, write_cpio
from sbx.system.files import owned_fd
from sbx.system.jail import Jail
from sbx.system.progress import Silent
from sbx.vm.command import KERNEL_ARGUMENTS, KVM_SET, kernel_in_jail, render
from sbx.vm.devices import (
    Board,
    Device,
    DirectBoot,
    Hardening,
    KvmProcessor,
    Memory,
    PassedFile,
    TcgProcessor,
)
from sbx.vm.endpoints import open_kvm
from sbx.vm.probe import StandardConsole
from sbx.vm.resources import host_capacity
from sbx.vm.snapshots import Snapshots
from tests.kit.installation import Installation

NAME = "bench"
SIZES = ("512m", "1g", "2g", "4g", "8g")
# What a start needs of the cache; all but the snapshots, so that a start has to boot.
_PARTS = ("layers", "templates", "runtime", "tools", "tools-base")


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `create`, `restart`, `cold`; curve over the memory."""
    assert prepare(bench.cache, Silent()), "no snapshot could be made"
    with bench.installation() as installation:
        yield from _warm(bench, installation)
        yield from _cold(bench, installation)
        yield _sizes(bench, installation)


def _warm(bench: Bench, installation: Installation) -> Iterator[Finding]:
    found = in_turns(
        bench.runs(4, 15),
        {
            "recipe": lambda: start_seconds(bench, installation.home),
            "create": lambda: _create(installation, "1g"),
            "restart": lambda: _restart(installation),  # of what `create` made
        },
    )
    for name, note in (
        ("create", "`sbx create`, then `sbx exec ... echo`: two whole processes, to its output"),
        ("restart", "`sbx exec ... echo` in a stopped sandbox, to its output"),
    ):
        yield Row(
            name=f"start/{name}", unit="s", ours=found[name], limit=found["recipe"],
            limit_name="bare recipe", budget=1.5, note=note,
        )  # fmt: skip
    yield Row(name="start/seconds", unit="s", ours=found["create"], budget=1.0, note="absolute")


def _create(installation: Installation, memory: str) -> float:
    began = time.perf_counter()
    create(installation, NAME, "--memory", memory)
    installation.ok("exec", NAME, "echo", "up")
    return time.perf_counter() - began


def _restart(installation: Installation) -> float:
    installation.ok("stop", NAME)
    began = time.perf_counter()
    installation.ok("exec", NAME, "echo", "up")
    taken = time.perf_counter() - began
    installation.ok("rm", "-f", NAME)
    return taken


def _cold(bench: Bench, installation: Installation) -> Iterator[Finding]:
    found = in_turns(
        bench.runs(1, 5),
        {"ours": lambda: _create_cold(bench, installation), "raw": lambda: raw_boot(bench)},
    )
    yield Row(
        name="start/cold", unit="s", ours=found["ours"], limit=found["raw"],
        limit_name="raw boot", budget=2.0,
        note="no snapshot; raw boot: the same kernel and processors, an init that powers off",
    )  # fmt: skip


def _create_cold(bench: Bench, installation: Installation) -> float:
    """As `_create`, in a cache without snapshots."""
    with tempfile.TemporaryDirectory(dir=installation.home) as folder:
        cache = Path(folder) / "opensbx"
        cache.mkdir(mode=0o700)
        for name in _PARTS:
            (cache / name).symlink_to(bench.cache / name)
        shutil.copy(bench.cache / "accel.json", cache)
        apart = replace(installation, cache=Path(folder))
        taken = _create(apart, "1g")
        apart.ok("rm", "-f", NAME)
        Snapshots(cache).stop_building()
    return taken


def raw_boot(bench: Bench) -> float:
    """QEMU from its start to its end: kernel, and an init of busybox that powers off."""
    runtime, _, _ = bench.parts()
    busybox = (runtime.root / "usr/bin/busybox").read_bytes()
    fd = os.memfd_create("initramfs", 0)
    passed = [fd]
    with os.fdopen(fd, "wb") as out, ExitStack() as kept:
        write_cpio(
            out,
            [
                CpioEntry("dev", S_IFDIR | 0o755),
                CpioEntry("dev/console", S_IFCHR | 0o600, device=(5, 1)),
                CpioEntry("busybox", S_IFREG | 0o755, busybox),
                CpioEntry("init", S_IFREG | 0o755, b"#!/busybox sh\n/busybox poweroff -f\n"),
            ],
        )
        out.flush()
        cpus = host_capacity().cpus
        processor: tuple[Device, ...] = (TcgProcessor(cpus=cpus),)
        if bench.accel() is Accel.KVM:
            kvm = kept.enter_context(owned_fd(open_kvm()))
            passed.append(kvm)
            processor = (
                PassedFile(fd=kvm, set_id=KVM_SET),
                KvmProcessor(cpus=cpus, kvm_fd_set=KVM_SET),
            )
        devices: tuple[Device, ...] = (
            Hardening(),
            Board(),
            *processor,
            Memory(size_bytes=512 * MIB),
            DirectBoot(kernel=kernel_in_jail(runtime), initramfs_fd=fd, arguments=KERNEL_ARGUMENTS),
            StandardConsole(),
        )
        command = Jail(root=runtime.root).command(render(devices))
        began = time.perf_counter()
        subprocess.run(command, pass_fds=passed, check=True, capture_output=True, timeout=120)
        return time.perf_counter() - began


def _sizes(bench: Bench, installation: Installation) -> Curve:
    def once(memory: str) -> float:
        taken = _create(installation, memory)
        installation.ok("rm", "-f", NAME)
        return taken

    found = in_turns(
        bench.runs(1, 5), {size: partial(once, size) for size in SIZES}
    )  # fmt: skip
    return Curve(
        name="start/memory",
        x_name="memory in MiB",
        y_name="seconds to the first output",
        x=(512, 1024, 2048, 4096, 8192),
        series={"create": tuple(found.values())},
        expected="Flat to 4 GiB is the aim; what is beyond comes after the start.",
        log_x=True,
    )
