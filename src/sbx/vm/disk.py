# SPDX-License-Identifier: Apache-2.0
"""The sandbox's data disk: one sparse raw file. Only guests ever mount it.

The host makes the file system while the disk is new, and never looks inside again: from then on
every byte of it is the guest's.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from pathlib import Path

from sbx.errors import ConflictError, HostError, PermanentError, SbxError, UserError
from sbx.sandbox.parts import RuntimeBundle
from sbx.sandbox.units import MIB, format_size
from sbx.system.jail import Bind, BindKind, Jail
from sbx.system.process import run

log = logging.getLogger(__name__)

_FORMAT_TIMEOUT_S = 30.0
_BLOCK_BYTES = 4096
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


def format_disk(path: Path, runtime: RuntimeBundle) -> None:
    """Make an ext4 file system on a new disk, in the jail; natively that is many times faster.

    The guest formats a disk that has none, so a failure is only logged.
    """
    inside = Path("/tmp/disk")  # noqa: S108 - inside the jail
    bind = Bind(source=path, target=inside, kind=BindKind.READ_WRITE)
    # The file is a new sparse one: it reads as zeros, so nothing has to be zeroed or discarded.
    # Room to grow to four times the size: the default, a thousand times, takes 4 MiB at once.
    most = min(4 * path.stat().st_size // _BLOCK_BYTES, (1 << 32) - 1)
    options = "nodiscard,assume_storage_prezeroed=1,lazy_itable_init=1,lazy_journal_init=1"
    options += f",resize={most}"
    args = [
        "/usr/sbin/mke2fs",
        "-t",
        "ext4",
        "-F",
        "-q",
        "-m",
        "0",
        "-L",
        "data",
        "-b",
        str(_BLOCK_BYTES),
        "-E",
        options,
    ]
    try:
        command = Jail(root=runtime.root, binds=(bind,)).command([*args, inside])
        run(command, timeout_s=_FORMAT_TIMEOUT_S)
    except SbxError as error:
        log.warning("disk is not formatted yet: %s\n%s", error.message, error.details or "")


def check_growth(path: Path, size_bytes: int) -> int:
    """The size of a disk now, which is to become so large.

    Raises:
        UserError: it is larger already: a disk is never cut.
        HostError, PermanentError: as `open_disk`.
    """
    fd = open_disk(path)
    try:
        now = os.fstat(fd).st_size
    finally:
        os.close(fd)
    if size_bytes < now:
        raise UserError(
            f"a disk cannot become smaller: {format_size(now)} now, "
            f"{format_size(size_bytes)} asked for"
        )
    return now


def grow_disk(path: Path, size_bytes: int) -> None:
    """Make a stopped sandbox's disk larger; its content stays.

    Raises:
        UserError, HostError, PermanentError: as `check_growth`, or the file system cannot hold it.
    """
    check_growth(path, size_bytes)
    fd = open_disk(path)
    try:
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
