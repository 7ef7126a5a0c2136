# SPDX-License-Identifier: Apache-2.0
"""Being told when a file is opened: inotify(7), of which Python has no binding."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable, Generator
from pathlib import Path

from sbx.errors import HostError

_IN_OPEN = 0x20  # <sys/inotify.h>
_READ_BYTES = 4096


@contextlib.contextmanager
def on_open(path: Path, call: Callable[[], None]) -> Generator[None]:
    """Call `call` in the running event loop after `path` was opened, once or more.

    Raises:
        HostError: the kernel's limit of watches is reached, or the file is not there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise _failed(path)
    loop = asyncio.get_running_loop()
    try:
        if libc.inotify_add_watch(fd, os.fsencode(path), _IN_OPEN) < 0:
            raise _failed(path)
        loop.add_reader(fd, _drain, fd, call)
        try:
            yield
        finally:
            loop.remove_reader(fd)
    finally:
        if fd >= 0:
            os.close(fd)


def _drain(fd: int, call: Callable[[], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, _READ_BYTES):  # the kernel merges equal events that nobody has read
            pass
    call()


def _failed(path: Path) -> HostError:
    error = ctypes.get_errno()
    return HostError(
        f"cannot watch `{path}`: {os.strerror(error)}",
        hint="Raise the limits: sysctl fs.inotify",
    )
