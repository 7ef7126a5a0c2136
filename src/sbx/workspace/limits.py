# SPDX-License-Identifier: Apache-2.0
"""How many files a shared folder can have: the file server keeps one open for each that is known.

Without one more, the guest's `ls` of a large folder is short without an error. Only root may raise
the hard limit; others have what their system gives, 524288 under systemd.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable
from pathlib import Path

_WANTED_FILES = 1_000_000  # as virtiofsd itself would like
_FEW_FILES = 100_000


def raise_file_limit() -> int:
    """Let our children have as many as we may give; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _WANTED_FILES:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, _WANTED_FILES))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def file_limit_warning() -> str | None:
    """A sentence about a limit of open files that is low and cannot be raised, if it is."""
    hard = raise_file_limit()
    if hard >= _FEW_FILES:
        return None
    return (
        f"the limit of open files is {hard}: in a shared folder with more files than that, "
        "some will be missing inside the sandbox"
    )


def many_files_warning(folders: Iterable[Path], *, limit: int) -> str | None:
    """A sentence about a folder that has more files than the limit of open files, if one has."""
    if limit >= _FEW_FILES:  # not worth the time to count
        return None
    for folder in folders:
        if _has_more(folder, limit):
            return (
                f"`{folder}` has more than {limit} files, which is the limit of open files here: "
                "some will be missing inside. Raise nofile in limits.conf, or use --clone"
            )
    return None


def _has_more(folder: Path, limit: int) -> bool:
    count, queue = 0, [os.fspath(folder)]
    while queue:
        try:
            with os.scandir(queue.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
        except OSError:
            continue  # closed to us, so closed to the file server
        if count > limit:
            return True
    return False
