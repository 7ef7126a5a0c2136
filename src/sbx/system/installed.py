# SPDX-License-Identifier: Apache-2.0
"""Are the packages of this Python environment what was installed?

Each installed package has a record with the digests of its files. Reading them all takes a moment,
so this is for `sbx diagnose` and for the moment after something could not be imported.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


def damaged_files(path: Sequence[str] | None = None) -> tuple[Path, ...]:
    """The files of packages on `sys.path`, or on `path`, that are missing or not as installed."""
    return tuple(
        Path(str(file.locate()))
        for package in metadata.distributions(path=list(sys.path if path is None else path))
        for file in package.files or ()
        if file.hash is not None and not _fits(Path(str(file.locate())), file.hash)
    )


def _fits(path: Path, wanted: metadata.FileHash) -> bool:
    try:
        digest = hashlib.new(wanted.mode, path.read_bytes()).digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == wanted.value
