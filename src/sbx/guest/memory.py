# SPDX-License-Identifier: Apache-2.0
"""The machine's memory: given up before the machine is frozen, awaited when it grows."""

from __future__ import annotations

import gc
import os
import time

from .links import read_text
from .loop import Loop
from .netlink import Uevents

# What the kernel derives at boot from memory that it did not have yet, per GiB, with a floor.
_LIMITS = {
    "kernel/threads-max": (8192, 32768),
    "fs/inotify/max_user_watches": (65536, 524_288),
    "fs/file-max": (100_000, 400_000),
}


def memory_bytes() -> int:
    """All memory that the kernel manages now."""
    for line in (read_text("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def give_up_caches() -> None:
    """Free what can be read again, and gather what is left, so that a snapshot is small."""
    gc.collect()
    os.sync()
    for name, value in (("drop_caches", "3"), ("compact_memory", "1"), ("drop_caches", "3")):
        _write(f"vm/{name}", value)


async def wait_for_memory(loop: Loop, uevents: Uevents, size_bytes: int, timeout_s: float) -> bool:
    """Wait until there is so much memory; False if it does not come in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        uevents.drain()  # before the look, so that what comes after it wakes us
        if memory_bytes() >= size_bytes:
            return True
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not await loop.readable(uevents.fileno(), left_s):
            return False


def scale_limits(size_bytes: int) -> None:
    """Raise the kernel's limits to what it would have chosen had it booted with this memory."""
    for name, (per_gib, least) in _LIMITS.items():
        _write(name, str(max(per_gib * size_bytes >> 30, least)))


def _write(name: str, value: str) -> None:
    try:
        with open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
    except OSError:  # a kernel without it: nothing depends on it
        return
