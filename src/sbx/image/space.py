# SPDX-License-Identifier: Apache-2.0
"""Disk space, asked for before long work instead of found missing in the middle of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from sbx.errors import HostError

_MIB = 1 << 20


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise unless the file system of `folder` has so much left.

    Raises:
        HostError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise HostError(
            f"not enough disk space for `{folder}`: "
            f"{needed_bytes // _MIB} MiB needed, {free // _MIB} MiB free",
            hint="Free some disk space, or run: sbx prune --cache",
        )
