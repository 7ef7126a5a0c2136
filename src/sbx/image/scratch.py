# SPDX-License-Identifier: Apache-2.0
"""The folder in which mmdebstrap unpacks a whole system.

Not in the cache: the subordinate ids that own the tree, and apt's own user, must be able to pass
through every folder above it, and the cache is closed to everybody else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path

from sbx.image.cache import remove_tree, storage_error
from sbx.system.locks import hold_lock, is_locked
from sbx.system.process import run

_LOCK = ".lock"
_REMOVE_SECONDS = 120.0


@contextlib.contextmanager
def tree_folder() -> Generator[Path]:
    """A folder that others can pass through but not list; removed at the end with everything in it.

    Raises:
        HostError: it cannot be made.
    """
    # On a disk and not in memory, if there is a choice: a system takes more than a gigabyte.
    base = Path(os.environ.get("TMPDIR", "/var/tmp"))  # noqa: S108 - a private name is made in it
    prefix = f"opensbx-build-{os.geteuid()}-"
    _remove_leftovers(base, prefix)
    folder = base / f"{prefix}{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)  # whatever the umask took away
    except OSError as error:
        raise storage_error(error, base) from error
    try:
        with hold_lock(folder / _LOCK):
            yield folder
    finally:
        _remove(folder)


def _remove_leftovers(base: Path, prefix: str) -> None:
    """Remove what killed builds of this user left; a build that is under way holds its lock."""
    for folder in base.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not is_locked(folder / _LOCK):
                _remove(folder)


def _remove(folder: Path) -> None:
    remove_tree(folder)
    if folder.exists():
        # The rest belongs to subordinate ids: only their own namespace may remove it.
        trees = [str(path) for path in folder.glob("mmdebstrap.*")]
        args = ["mmdebstrap", "--unshare-helper", "rm", "-rf", "--", *trees]
        run(args, check=False, timeout_s=_REMOVE_SECONDS)
        remove_tree(folder)
