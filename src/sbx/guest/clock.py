# SPDX-License-Identifier: Apache-2.0
"""Clocks, and what two machines from one snapshot must not share: the time and the random pool."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time

from .links import read_text

_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207
_CLOCKS = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
_WORTH_CORRECTING_NS = 1_000_000
# IA-PC HPET specification, 2.3.1 and 2.3.4; the address is that of every PC.
_HPET_ADDRESS = 0xFED00000
_HPET_TIMER, _HPET_STEP, _HPET_TIMERS = 0x100, 0x20, 3
_HPET_ENABLED, _HPET_PERIODIC = 1 << 2, 1 << 3


def set_time(time_ns: int) -> None:
    """Set the wall clock, unless it is right already."""
    if abs(time.clock_gettime_ns(time.CLOCK_REALTIME) - time_ns) > _WORTH_CORRECTING_NS:
        time.clock_settime_ns(time.CLOCK_REALTIME, time_ns)


def add_entropy(data: bytes) -> None:
    """Mix the host's random bytes into the pool, credit them, and reseed from it at once."""
    fd = os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)
    try:
        request = struct.pack("ii", len(data) * 8, len(data)) + data
        fcntl.ioctl(fd, _RNDADDENTROPY, request)
        fcntl.ioctl(fd, _RNDRESEEDCRNG)
    finally:
        os.close(fd)


def quiet_boot_timer() -> None:
    """Stop the timer that the kernel ticked by before it had a better one.

    It disables the interrupt and leaves the timer periodic: QEMU would go on emulating 250 ticks a
    second that nobody takes, for 3 % of a core. The counter itself runs on, it is a clock.
    """
    if "hpet" not in (read_text(_CLOCKS) or ""):  # a machine without it
        return
    try:
        fd = os.open("/dev/mem", os.O_RDWR | os.O_SYNC | os.O_CLOEXEC)
        try:
            _end_idle_ticks(fd)
        finally:
            os.close(fd)
    except OSError:  # the kernel does not allow it: nothing depends on it
        return


def _end_idle_ticks(memory: int) -> None:
    with (
        mmap.mmap(memory, mmap.PAGESIZE, offset=_HPET_ADDRESS) as page,
        memoryview(page) as view,
        view.cast("I") as words,  # the device takes whole words only
    ):
        for number in range(_HPET_TIMERS):
            place = (_HPET_TIMER + number * _HPET_STEP) // 4
            config = words[place]
            if config & _HPET_PERIODIC and not config & _HPET_ENABLED:
                words[place] = config & ~_HPET_PERIODIC
