# SPDX-License-Identifier: Apache-2.0
"""What happens to files and folders, as it happens: inotify(7).

Own code because it is small: the library for it looks up libc by running a program at import.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Generator
from pathlib import Path

from sbx.errors import HostError
from sbx.system.libc import checked, libc, readable

_IN_OPEN = 0x20  # <sys/inotify.h>
_IN_ATTRIB, _IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x4, 0x8, 0x40, 0x80
_IN_CREATE, _IN_DELETE, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_IN_ONLYDIR = 0x01000000
_CHANGES = (
    _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
    | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR
)  # fmt: skip
_READ_BYTES = 65536  # more than the kernel holds for a folder whose names are short


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
        fd = _watching(self._folder, _CHANGES)
        self.close()
        self._fd = fd

    async def changed(self) -> None:
        """Wait for a change since the last call, or since the watch began."""
        await readable(self._fd)
        _drain(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextlib.contextmanager
def on_open(path: Path, call: Callable[[], None]) -> Generator[None]:
    """Call `call` in the running event loop after `path` was opened, once or more.

    Raises:
        HostError: the kernel's limit of watches is reached, or the file is not there.
    """

    def told() -> None:
        _drain(fd)
        call()

    try:
        fd = _watching(path, _IN_OPEN)
    except OSError as error:
        raise HostError(
            f"cannot watch `{path}`: {error.strerror}", hint="Raise the limits: sysctl fs.inotify"
        ) from error
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, told)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _watching(path: Path, mask: int) -> int:
    """A descriptor that becomes readable by what `mask` says (raises OSError)."""
    fd = checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        checked(libc.inotify_add_watch(fd, os.fsencode(path), mask))
    except OSError:
        os.close(fd)
        raise
    return fd


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, _READ_BYTES):
            pass
