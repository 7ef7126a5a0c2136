# SPDX-License-Identifier: Apache-2.0
"""Files that survive: atomic writes, private folders, bounded reads, digests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from sbx.errors import HostError

_CHUNK_BYTES = 1 << 20


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` so that a reader sees the old bytes or the new ones, also after a crash.

    Raises:
        HostError: no space, or no permission.
    """
    temp = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise HostError(
            f"cannot write `{path}`: {error.strerror}", hint=_space_hint(error)
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable (fsync(2) on the directory)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def private_folder(path: Path) -> Path:
    """Make `path` (and its parents) if missing; it must belong to us and be closed to others.

    Raises:
        HostError: it belongs to somebody else or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.stat()
        if facts.st_uid != os.geteuid():
            raise HostError(
                f"folder belongs to another user: `{path}`", hint=f"Remove or rename: {path}"
            )
        if facts.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise HostError(
            f"cannot use folder `{path}`: {error.strerror}", hint=_space_hint(error)
        ) from error
    return path


def read_bounded(path: Path, *, limit_bytes: int) -> bytes:
    """Read a file that must not be larger than `limit_bytes` (OSError as `open`)."""
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise HostError(f"file is larger than {limit_bytes} bytes: `{path}`")
    return data


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    import hashlib  # not for those who hash nothing: it costs a start of `sbx exec` 2 ms

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def allocated_bytes(path: Path) -> int:
    """Bytes that a (sparse) file really takes on its disk, see stat(2) `st_blocks`."""
    return path.stat().st_blocks * 512


@contextlib.contextmanager
def owned_fd(fd: int) -> Generator[int]:
    """Close a bare descriptor at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)


def _space_hint(error: OSError) -> str | None:
    return "Free some disk space, or run: sbx prune --cache" if error.errno == 28 else None
