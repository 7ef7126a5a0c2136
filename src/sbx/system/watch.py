# SPDX-License-Identifier: Apache-2.0
"""Changes of a folder as they happen: inotify(7).

Own code because it is small: the library for it looks up libc by running a program at import.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from pathlib import Path

_IN_ATTRIB, _IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x4, 0x8, 0x40, 0x80
_IN_CREATE, _IN_DELETE, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_IN_ONLYDIR = 0x01000000
_MASK = (
    _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
    | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR
)  # fmt: skip
_READ_BYTES = 65536  # more than the kernel holds for a folder whose names are short

_libc = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Tells that something in a folder, or the folder itself, changed; not what."""

    def __init__(self, folder: Path) -> None:
        """Watch it from now on.

        Raises:
            OSError: there is no such folder, or the user has too many watches (inotify(7)).
        """
        self._folder = folder
        self._fd = -1
        self.renew()

    def renew(self) -> None:
        """Watch what is at the folder's path now, which may be another folder (raises OSError)."""
        fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            _checked(_libc.inotify_add_watch(fd, os.fsencode(self._folder), _MASK))
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._fd = fd

    async def changed(self) -> None:
        """Wait for a change since the last call, or since the watch began."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._fd)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.read(self._fd, _READ_BYTES)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
