# SPDX-License-Identifier: Apache-2.0
"""What two machines from one snapshot must not share: the clock and the random pool."""

from __future__ import annotations

import fcntl
import os
import struct
import time

_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207
_WORTH_CORRECTING_NS = 1_000_000


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
