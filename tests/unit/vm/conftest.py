# SPDX-License-Identifier: Apache-2.0
"""Machines whose QEMU is a small program of ours, put in bubblewrap's place on PATH."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.sandbox.parts import Accel, GuestTools, RuntimeBundle
from sbx.sandbox.spec import Resources
from sbx.vm.machine import MachineConfig

FAKE = Path(__file__).with_name("fake_qemu.py")


@pytest.fixture(name="pretend")
def _pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every jailed program behave as named from now on."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def behave(behaviour: str) -> None:
        script = folder / "bwrap"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} {behaviour} "$@"\n')
        script.chmod(0o755)

    return behave


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path) -> RuntimeBundle:
    """A bundle with the two files that are looked at."""
    root = tmp_path / "runtime"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/busybox").write_bytes(b"not a program")
    return RuntimeBundle(
        digest="d1", root=root, kernel=root / "boot/vmlinuz-1", kernel_release="1", versions={}
    )


@pytest.fixture(name="config")
def _config(tmp_path: Path, runtime: RuntimeBundle) -> MachineConfig:
    """A machine that emulates, without network cards."""
    image, initramfs = tmp_path / "tools.img", tmp_path / "initramfs"
    image.touch()
    initramfs.touch()
    return MachineConfig(
        runtime=runtime,
        tools=GuestTools(digest="d2", image=image, initramfs=initramfs, versions={}),
        resources=Resources(cpus=1, memory_bytes=512 << 20, disk_bytes=1 << 30),
        accel=Accel.TCG,
        taps=(),
        console_log=tmp_path / "console.log",
    )


@pytest.fixture(name="open_fds")
def _open_fds() -> Callable[[], int]:
    """Count this process's descriptors."""
    return lambda: len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only counted
