# SPDX-License-Identifier: Apache-2.0
"""Locks between processes: open-file-description locks (fcntl(2), F_OFD_SETLK).

The kernel drops them when the holder dies, however it dies, and another process can ask whether
one is held without taking it, so "is the supervisor alive" has no race with its start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Generator
from pathlib import Path

_F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW = (
    36,
    37,
    38,
)  # <fcntl.h>, not in Python's fcntl before 3.14
_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux


def _flock(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(path: Path) -> int | None:
    """Take the lock at `path` and return the descriptor that holds it, or None if it is taken."""
    fd = _open(path)
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, _flock(fcntl.F_WRLCK))
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock at `path`; takes nothing. A missing file is not locked."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        answer = fcntl.fcntl(fd, _F_OFD_GETLK, _flock(fcntl.F_WRLCK))
    finally:
        os.close(fd)
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


@contextlib.contextmanager
def hold_lock(path: Path) -> Generator[None]:
    """Wait for the lock at `path` and hold it for the block."""
    fd = _open(path)
    try:
        fcntl.fcntl(fd, _F_OFD_SETLKW, _flock(fcntl.F_WRLCK))
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def hold_slot(folder: Path, slots: int) -> Generator[int]:
    """Wait for one of `slots` places shared by all processes of the user.

    Yields the descriptor that holds the place: it may be passed to a child, closed early, and is
    closed at the end of the block; the place is free when the last copy is closed.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = _free_slot(folder, slots)
    if fd is None:
        fd = _open(folder / str(os.getpid() % slots))
        try:
            fcntl.fcntl(fd, _F_OFD_SETLKW, _flock(fcntl.F_WRLCK))
        except BaseException:
            os.close(fd)
            raise
    facts = os.fstat(fd)
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):  # closed early
            if os.fstat(fd).st_ino == facts.st_ino:
                os.close(fd)


def _free_slot(folder: Path, slots: int) -> int | None:
    for number in range(slots):
        fd = try_lock(folder / str(number))
        if fd is not None:
            return fd
    return None
