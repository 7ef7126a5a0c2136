# SPDX-License-Identifier: Apache-2.0
"""Jumps of the host's clock as they happen: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.

The kernel tells of a clock that was set, and of one that was behind because the host slept.
Own code because Python has timerfd only from 3.13 on.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time

from sbx.system.libc import checked, libc, readable

_TFD_CLOEXEC, _TFD_NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2  # linux/timerfd.h
_NEVER_S = (1 << 62) // 10**9  # an absolute time that the kernel takes, in about 150 years
_ITIMERSPEC = struct.Struct("@4q")  # interval, then value; seconds and nanoseconds each


class ClockWatch:
    """Tells that the host's clock was set, or went on after a sleep."""

    def __init__(self) -> None:
        """Watch from now on (OSError: no descriptor is free)."""
        self._fd = checked(libc.timerfd_create(time.CLOCK_REALTIME, _TFD_CLOEXEC | _TFD_NONBLOCK))
        self._arm()

    async def jumped(self) -> None:
        """Wait for a jump since the last call, or since the watch began."""
        await readable(self._fd)
        with contextlib.suppress(OSError):  # ECANCELED: that is how it is told
            os.read(self._fd, 8)
        self._arm()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _arm(self) -> None:
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        checked(libc.timerfd_settime(self._fd, flags, _ITIMERSPEC.pack(0, 0, _NEVER_S, 0), None))
