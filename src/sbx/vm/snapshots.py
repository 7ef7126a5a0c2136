# SPDX-License-Identifier: Apache-2.0
"""Frozen machines in the cache: complete or absent, found by what they were made of.

One folder per machine, `<cache>/snapshots/<key>/`: its memory (`ram`, sparse), its devices'
`state`, a `manifest.json` with their digests, and a `stamp` by which a start sees that nobody
touched them. The key covers everything that a restored machine must have in common with the frozen
one, so a machine of other parts is simply not found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import signal
import stat
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError, TransientError
from sbx.sandbox.parts import Accel, GuestTools, RuntimeBundle
from sbx.sandbox.units import GIB
from sbx.system.codec import CodecError, dumps, loads
from sbx.system.files import (
    allocated_bytes,
    private_folder,
    read_bounded,
    sync_folder,
    write_atomic,
)
from sbx.system.locks import hold_lock, is_locked, try_lock
from sbx.system.pidfd import ProcessHandle
from sbx.vm.command import MachineDescriptors, kernel_in_jail, machine_devices, render
from sbx.vm.memory import BOOT_BYTES, GuestMemory, data_ranges

log = logging.getLogger(__name__)

FOLDER = "snapshots"
RAM, STATE = "ram", "state"
MAX_SNAPSHOTS, MAX_BYTES = 4, 2 * GIB
_MANIFEST, _STAMP, _LOCK, _TEMP = "manifest.json", "stamp", ".lock", "temp-"
_GENERATION = 2  # raise it when the way of freezing changes
_SMALL_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 20
_KEY_DIGITS = 64
_END_S = 30.0  # a builder that was told to end, and has removed its folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a restored machine has in common with the frozen one."""

    runtime: RuntimeBundle
    tools: GuestTools
    cpus: int
    accel: Accel
    processor: str  # of the host, and its kernel, where the guest sees them; else empty
    more_bytes: int  # room for growth

    def key(self) -> str:
        """The name of the snapshot."""
        parts = (
            _GENERATION, BOOT_BYTES, self.runtime.digest, self.tools.digest, self.cpus,
            self.accel.value, self.processor, self.more_bytes, self._command(),
        )  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _command(self) -> list[str]:
        """The command line with the same descriptors each time."""
        kvm = 5 if self.accel is Accel.KVM else None
        fds = MachineDescriptors(
            console=0, monitor=1, control=2, tools=3, initramfs=4, kvm=kvm, taps=((6, ""), (7, "")),
            memory=GuestMemory(boot_fd=8, more_fd=9, more_bytes=self.more_bytes),
        )  # fmt: skip
        kernel = kernel_in_jail(self.runtime)
        return render(machine_devices(kernel, cpus=self.cpus, memory_bytes=0, fds=fds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is kept with a snapshot."""

    generation: int
    key: str
    runtime: str  # digests of the parts, so that a prune can tell what is of use
    tools: str
    digests: dict[str, str]  # file name -> digest of its bytes and its shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """The open files of a whole snapshot; they stay readable when it is removed meanwhile."""

    key: str
    ram_fd: int
    state_fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One snapshot in reports."""

    key: str
    size_bytes: int
    runtime: str
    tools: str


class Snapshots:
    """The snapshots in one cache folder."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / FOLDER

    @contextlib.contextmanager
    def find(self, key: str) -> Generator[Frozen | None]:
        """The snapshot, open for the block; None if it is absent, or damaged and now gone."""
        with contextlib.ExitStack() as stack:
            folder, found = self._folder / key, None
            try:
                ram, state = (_open(stack, folder / name) for name in (RAM, STATE))
                if _is_whole(folder, key, {RAM: ram, STATE: state}):
                    os.utime(folder)  # when it was used last
                    found = Frozen(key=key, ram_fd=ram, state_fd=state)
            except (OSError, HostError, CodecError) as error:
                log.debug("snapshot %s: %s", key[:12], error)
            if found is None and folder.exists():
                log.warning("snapshot is damaged, removing it: %s", key[:12])
                self.remove(key)
            yield found

    def has(self, key: str) -> bool:
        """Whether there is one, whole or not."""
        return (self._folder / key / _MANIFEST).exists()

    @contextlib.contextmanager
    def building(self) -> Generator[Path | None]:
        """A new folder for `publish`; None while somebody else builds. Its rest is removed."""
        private_folder(self._folder)
        lock = try_lock(self._folder / _LOCK)
        if lock is None:
            yield None
            return
        try:
            os.pwrite(lock, f"{os.getpid():20}".encode(), 0)
            for left in self._folder.glob(f"{_TEMP}*"):  # of a builder that was killed
                shutil.rmtree(left, ignore_errors=True)
            temp = self._folder / f"{_TEMP}{secrets.token_hex(4)}"
            temp.mkdir(mode=0o700)
            try:
                yield temp
            finally:
                shutil.rmtree(temp, ignore_errors=True)
        finally:
            os.close(lock)

    def stop_building(self) -> None:
        """End whoever builds just now, and wait until nothing of it is left."""
        path = self._folder / _LOCK
        if not is_locked(path):
            return
        with contextlib.suppress(OSError, ValueError, HostError, TransientError):
            pid = int(read_bounded(path, limit_bytes=_SMALL_BYTES))
            with contextlib.closing(ProcessHandle(pid)) as builder:
                if not is_locked(path):
                    return
                builder.signal(signal.SIGTERM)
                with hold_lock(path):
                    pass  # the folder is gone; the program itself needs a moment more
                builder.wait(_END_S)

    def publish(self, folder: Path, shape: Shape) -> None:
        """Make a filled folder findable, and remove what the cache has no room for.

        Raises:
            HostError: it cannot be written.
        """
        key = shape.key()
        files = {name: os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC) for name in (RAM, STATE)}
        try:
            for fd in files.values():
                os.fsync(fd)
            manifest = Manifest(
                generation=_GENERATION,
                key=key,
                runtime=shape.runtime.digest,
                tools=shape.tools.digest,
                digests={name: _digest(fd) for name, fd in files.items()},
            )
            write_atomic(folder / _MANIFEST, dumps(manifest))
            write_atomic(folder / _STAMP, _stamp(files).encode())
        finally:
            for fd in files.values():
                os.close(fd)
        self.remove(key)
        folder.rename(self._folder / key)
        sync_folder(self._folder)
        self._make_room(key)

    def remove(self, key: str) -> int:
        """Remove one if it is there; returns the bytes freed. Who has it open can read on."""
        folder = self._folder / key
        size = _size(folder)
        with contextlib.suppress(OSError):
            gone = self._folder / f"{_TEMP}{secrets.token_hex(4)}"
            folder.rename(gone)  # so that nobody finds a half of it
            shutil.rmtree(gone, ignore_errors=True)
            return size
        return 0

    def usage(self) -> tuple[Usage, ...]:
        """All of them, the one used last first."""
        return tuple(_usage(folder) for folder in self._by_use())

    def _by_use(self) -> list[Path]:
        aged: list[tuple[float, Path]] = []
        for folder in self._folder.glob("*"):
            with contextlib.suppress(OSError):
                if len(folder.name) == _KEY_DIGITS:
                    aged.append((folder.stat().st_mtime, folder))
        return [folder for _, folder in sorted(aged, reverse=True)]

    def _make_room(self, newest: str) -> None:
        room = MAX_BYTES
        for number, folder in enumerate(self._by_use()):
            room -= _size(folder)
            if folder.name != newest and (number >= MAX_SNAPSHOTS or room < 0):
                log.info("snapshot is removed, for room: %s", folder.name[:12])
                self.remove(folder.name)


def host_processor(accel: Accel) -> str:
    """What of the host a machine of this accelerator sees: nothing when it is emulated."""
    if accel is Accel.TCG:
        return ""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    wanted = ("model name", "stepping", "microcode", "flags")
    facts = [line for line in lines if line.partition("\t")[0].partition(":")[0].strip() in wanted]
    return "\n".join((os.uname().release, *facts))


def _open(stack: contextlib.ExitStack, path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    stack.callback(os.close, fd)
    return fd


def _is_whole(folder: Path, key: str, files: dict[str, int]) -> bool:
    """Cheap as long as the stamp fits; otherwise every byte is read."""
    raw = read_bounded(folder / _MANIFEST, limit_bytes=_SMALL_BYTES)
    manifest = loads(Manifest, raw)
    if manifest.generation != _GENERATION or manifest.key != key:
        return False
    now = _stamp(files)
    with contextlib.suppress(OSError):
        if (folder / _STAMP).read_text() == now:
            return True
    if manifest.digests != {name: _digest(fd) for name, fd in files.items()}:
        return False
    write_atomic(folder / _STAMP, now.encode())  # touched but equal, such as a copied cache
    return True


def _stamp(files: dict[str, int]) -> str:
    """Changes when a file is replaced or written to: no program can set a change time back."""
    facts = {name: os.fstat(fd) for name, fd in files.items()}
    return json.dumps({n: [f.st_ino, f.st_size, f.st_ctime_ns] for n, f in facts.items()})


def _digest(fd: int) -> str:
    """SHA-256 over a sparse file's size, and the places and bytes of what is not zero."""
    size = os.fstat(fd).st_size
    digest = hashlib.sha256(str(size).encode())
    for start, end in data_ranges(fd, size):
        for offset in range(start - start % _CHUNK_BYTES, end, _CHUNK_BYTES):
            first, last = max(start, offset), min(end, offset + _CHUNK_BYTES)
            digest.update(f"{first}\0".encode() + os.pread(fd, last - first, first))
    return digest.hexdigest()


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        files = [p for p in folder.iterdir() if stat.S_ISREG(p.lstat().st_mode)]
        return sum(allocated_bytes(path) for path in files)
    return 0


def _usage(folder: Path) -> Usage:
    runtime = tools = ""
    with contextlib.suppress(OSError, HostError, CodecError):
        raw = read_bounded(folder / _MANIFEST, limit_bytes=_SMALL_BYTES)
        manifest = loads(Manifest, raw)
        runtime, tools = manifest.runtime, manifest.tools
    return Usage(key=folder.name, size_bytes=_size(folder), runtime=runtime, tools=tools)
