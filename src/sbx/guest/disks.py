# SPDX-License-Identifier: Apache-2.0
"""Disks: found by their serial, formatted when blank, mounted, flushed."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

from .links import read_text
from .loop import Loop
from .netlink import Uevents
from .syscalls import MS_NOATIME, MS_RDONLY, mount

_EXT4_MAGIC_OFFSET, _EXT4_MAGIC = 1080, b"\x53\xef"
_BLANK_BYTES = 1 << 20
_FIFREEZE = 0xC0045877
_EXT4_IOC_RESIZE_FS = 0x40086610
_FSCK_TIMEOUT_S = 600.0
# noinit_itable: the host's sparse file reads as zeros already, writing them would only fill it.
# discard: what is deleted inside goes back to the host.
_DATA_OPTIONS = "discard,noinit_itable,errors=remount-ro"


class DiskError(Exception):
    """A disk that cannot be used, with a sentence for the user."""


def find_disk(serial: str) -> str | None:
    """The device node of the virtio disk with this serial."""
    for name in os.listdir("/sys/block"):
        if read_text(f"/sys/block/{name}/serial") == serial:
            return f"/dev/{name}"
    return None


async def wait_for_disk(loop: Loop, uevents: Uevents, serial: str, timeout_s: float) -> str:
    """The device node of a disk that is there or is being plugged."""
    deadline = time.monotonic() + timeout_s
    while True:
        uevents.drain()  # before the look, so that what comes after it wakes us
        node = find_disk(serial)
        if node is not None:
            return node
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not await loop.readable(uevents.fileno(), left_s):
            raise DiskError(f"disk did not appear: `{serial}`")


async def run_tool(loop: Loop, args: list[str], timeout_s: float) -> int:
    """Run a program of the tools image to its end and return its status, negative for a signal."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        redirect = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1)]
        pid = os.posix_spawn(args[0], args, {"PATH": "/usr/sbin"}, file_actions=redirect)
    finally:
        os.close(null)
    pidfd = os.pidfd_open(pid)
    try:
        if not await loop.readable(pidfd, timeout_s):
            os.kill(pid, 9)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)


async def mount_data(loop: Loop, node: str, target: str, *, is_new: bool) -> None:
    """Mount the data disk; make its file system if it has none, repair it if it does not mount.

    A disk that is not new and neither blank nor a file system is never formatted.
    """
    if not _has_file_system(node):
        if not is_new and not _is_blank(node):
            raise DiskError("data disk holds no file system and is not blank: it is damaged")
        await _format(loop, node)
    os.makedirs(target, exist_ok=True)
    try:
        mount(node, target, "ext4", MS_NOATIME, _DATA_OPTIONS)
    except OSError as error:
        if error.errno not in (errno.EUCLEAN, errno.EINVAL, errno.EIO, errno.EBADMSG):
            raise
        if is_new:  # a first start that was cut off in the middle of mkfs
            await _format(loop, node)
        else:
            await run_tool(loop, ["/usr/sbin/e2fsck", "-y", node], _FSCK_TIMEOUT_S)
        mount(node, target, "ext4", MS_NOATIME, _DATA_OPTIONS)
    _grow(node, target)


async def grow_data(
    loop: Loop, uevents: Uevents, node: str, target: str, size_bytes: int, timeout_s: float
) -> None:
    """Let the mounted file system fill a disk that is just becoming larger."""
    deadline = time.monotonic() + timeout_s
    while True:
        uevents.drain()  # before the look, so that what comes after it wakes us
        if _disk_bytes(node) >= size_bytes:
            break
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not await loop.readable(uevents.fileno(), left_s):
            raise DiskError("the data disk did not become larger")
    _grow(node, target)


def mount_layer(node: str, target: str) -> None:
    """Mount a template's layer."""
    os.makedirs(target, exist_ok=True)
    mount(node, target, "erofs", MS_RDONLY)


def freeze(target: str) -> None:
    """Write everything out and forbid further writes, so that power can go (FIFREEZE)."""
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _FIFREEZE, 0)
    finally:
        os.close(fd)


async def _format(loop: Loop, node: str) -> None:
    # The disk is a new sparse file: it reads as zeros, so nothing has to be zeroed or discarded.
    options = "nodiscard,assume_storage_prezeroed=1,lazy_itable_init=1,lazy_journal_init=1"
    args = ["/usr/sbin/mkfs.ext4", "-F", "-q", "-m", "0", "-L", "data", "-E", options, node]
    status = await run_tool(loop, args, 120.0)
    if status != 0:
        raise DiskError(f"cannot make the data disk's file system: mkfs.ext4 ended with {status}")


def _grow(node: str, target: str) -> None:
    """Let the file system fill a disk that the host has made larger (EXT4_IOC_RESIZE_FS)."""
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    disk = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    try:
        block_bytes = os.fstatvfs(fd).f_frsize
        have = _block_count(disk)
        want = os.lseek(disk, 0, os.SEEK_END) // block_bytes
        if want > have:
            fcntl.ioctl(fd, _EXT4_IOC_RESIZE_FS, struct.pack("Q", want))
    finally:
        os.close(disk)
        os.close(fd)


def _disk_bytes(node: str) -> int:
    fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def _block_count(disk: int) -> int:
    """The file system's size as its superblock has it (ext4 disk layout, offsets 0x4 and 0x150)."""
    low, high = os.pread(disk, 4, 1024 + 0x4), os.pread(disk, 4, 1024 + 0x150)
    return int.from_bytes(low, "little") | int.from_bytes(high, "little") << 32


def _has_file_system(node: str) -> bool:
    fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, len(_EXT4_MAGIC), _EXT4_MAGIC_OFFSET) == _EXT4_MAGIC
    finally:
        os.close(fd)


def _is_blank(node: str) -> bool:
    fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not any(os.pread(fd, _BLANK_BYTES, 0))
    finally:
        os.close(fd)
