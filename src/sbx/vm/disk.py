# SPDX-License-Identifier: Apache-2.0
"""The sandbox's data disk: one sparse raw file. The guest makes and mounts the file system in it.

The host never looks inside: every byte of it is the guest's.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from sbx.errors import ConflictError, HostError, PermanentError, UserError
from sbx.sandbox.units import MIB, format_size

# A start writes an empty file system and its journal's first blocks; below this it would only
# fail later, inside, with a worse message.
NEEDED_BYTES = 64 * MIB


def create_disk(path: Path, size_bytes: int) -> None:
    """Make an empty sparse disk, readable by its owner only; nothing is left if that fails.

    Raises:
        ConflictError: there is one already.
        HostError: no space, no permission, or the file system cannot hold such a file.
    """
    check_space(path.parent)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise ConflictError(f"disk already exists: `{path}`") from error
    except OSError as error:
        raise _cannot("create", path, error) from error
    try:
        os.ftruncate(fd, size_bytes)
        os.fsync(fd)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise _cannot("create", path, error) from error
    finally:
        os.close(fd)


def grow_disk(path: Path, size_bytes: int) -> None:
    """Make a stopped sandbox's disk larger; its content stays.

    Raises:
        UserError: it is larger already: a disk is never cut.
        HostError, PermanentError: as `open_disk`, or the file system cannot hold such a file.
    """
    fd = open_disk(path)
    try:
        now = os.fstat(fd).st_size
        if size_bytes < now:
            raise UserError(
                f"a disk cannot become smaller: {format_size(now)} now, "
                f"{format_size(size_bytes)} asked for"
            )
        os.ftruncate(fd, size_bytes)
    except OSError as error:
        raise _cannot("grow", path, error) from error
    finally:
        os.close(fd)


def open_disk(path: Path) -> int:
    """Open a data disk to be handed to a machine; the caller closes the descriptor.

    Raises:
        PermanentError: it is gone or not a regular file.
        HostError: it cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise PermanentError(f"data disk is missing: `{path}`") from error
    except OSError as error:
        raise _cannot("open", path, error) from error
    return fd


def check_space(folder: Path) -> None:
    """Refuse a start that would fail for want of space.

    Raises:
        HostError: too little is free in `folder`'s file system.
    """
    try:
        facts = os.statvfs(folder)
    except OSError as error:
        raise _cannot("create a disk in", folder, error) from error
    free = facts.f_bavail * facts.f_frsize
    if free < NEEDED_BYTES:
        raise HostError(
            f"no space left in `{folder}`: {format_size(free)} free, "
            f"{format_size(NEEDED_BYTES)} needed",
            hint="Free some disk space, or run: sbx prune --cache",
        )


def _cannot(verb: str, path: Path, error: OSError) -> HostError:
    hints = {
        errno.ENOSPC: "Free some disk space, or run: sbx prune --cache",
        errno.EDQUOT: "Free some of your quota, or run: sbx prune --cache",
        errno.EFBIG: "Use a smaller --disk: the file system cannot hold such a large file",
    }
    return HostError(f"cannot {verb} `{path}`: {error.strerror}", hint=hints.get(error.errno or 0))
