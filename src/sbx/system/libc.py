# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library that this Python has no binding for, and what comes of them."""

from __future__ import annotations

import asyncio
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """The result of a call that says -1 when it failed (OSError: it did)."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


async def readable(fd: int) -> None:
    """Wait until a descriptor can be read, on the event loop."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
