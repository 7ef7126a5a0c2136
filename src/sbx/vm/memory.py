# SPDX-License-Identifier: Apache-2.0
"""The guest's memory in files of ours: anonymous ones that QEMU maps, copied from and to a disk.

A machine that can be frozen boots with `BOOT_BYTES` and gets the rest of what it was promised from
a virtio-mem device, so that one snapshot serves every size.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sbx.sandbox.units import GIB, MIB
from sbx.system.files import owned_fd

BOOT_BYTES = 512 * MIB
GROWTH_STEP_BYTES = 2 * MIB  # of the virtio-mem device
_CHUNK_BYTES = 4 * MIB
_PAGE_BYTES = mmap.PAGESIZE
_ZEROS = bytes(_PAGE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMemory:
    """The two files of a machine's memory; neither takes anything until it is touched."""

    boot_fd: int
    more_fd: int
    boot_bytes: int = BOOT_BYTES
    more_bytes: int  # room of the virtio-mem device, the same for every machine of a snapshot


def room_bytes(host_memory_bytes: int) -> int:
    """How far machines may grow on a host of this size: no machine is larger than its host."""
    return (host_memory_bytes // GIB + 1) * GIB


@contextmanager
def open_memory(more_bytes: int) -> Generator[GuestMemory]:
    """Empty memory for one machine; ours until the end of the block (QEMU has its own maps)."""
    with (
        owned_fd(_sparse("ram", BOOT_BYTES)) as boot,
        owned_fd(_sparse("more", more_bytes)) as more,
    ):
        yield GuestMemory(boot_fd=boot, more_fd=more, more_bytes=more_bytes)


def fill(memory_fd: int, file_fd: int, size_bytes: int) -> int:
    """Copy what a frozen file holds into empty memory; returns how many bytes that were.

    Raises:
        EOFError: the file is not of that size.
    """
    copied = 0
    if os.fstat(file_fd).st_size != size_bytes:
        raise EOFError("frozen memory has another size")
    for start, end in data_ranges(file_fd, size_bytes):
        # Half the time of reading into a map, which takes a fault per page.
        place = os.lseek(memory_fd, start, os.SEEK_SET)
        while place < end:
            sent = os.sendfile(memory_fd, file_fd, place, end - place)
            if not sent:
                raise EOFError("frozen memory is cut off")
            place += sent
        copied += end - start
    return copied


def save(memory_fd: int, file_fd: int, size_bytes: int) -> int:
    """Write memory's pages that are not zero to an empty file of the same shape."""
    os.ftruncate(file_fd, size_bytes)
    written = 0
    for start, end in data_ranges(memory_fd, size_bytes):
        for offset in range(start, end, _CHUNK_BYTES):
            data = os.pread(memory_fd, min(_CHUNK_BYTES, end - offset), offset)
            for first, last in _used_pages(data):
                written += os.pwrite(file_fd, data[first:last], offset + first)
    return written


def data_ranges(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that are not holes (lseek(2), SEEK_DATA)."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == 6:  # ENXIO: only a hole is left
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size_bytes)
        if start < end:
            yield start, end


def _used_pages(data: bytes) -> Iterator[tuple[int, int]]:
    """Runs of pages that hold something."""
    start: int | None = None
    for offset in range(0, len(data), _PAGE_BYTES):
        used = data[offset : offset + _PAGE_BYTES] != _ZEROS[: len(data) - offset]
        if used and start is None:
            start = offset
        elif not used and start is not None:
            yield start, offset
            start = None
    if start is not None:
        yield start, len(data)


def _sparse(name: str, size_bytes: int) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size_bytes)
    except BaseException:
        os.close(fd)
        raise
    return fd
