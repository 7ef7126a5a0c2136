# SPDX-License-Identifier: Apache-2.0
"""The wanted part of a Debian tar archive as an ordinary tree.

Everything is written as the calling user and without special files or set-id bits: owners in images
are set when they are packed.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from sbx.errors import PermanentError

_MERGED = ("bin", "sbin", "lib", "lib64")  # links to usr/... in every Debian since 12
_FOLDER_MODE = 0o755


def unpack(archive: Path, target: Path, keep: Callable[[str], bool]) -> int:
    """Unpack the members that `keep` wants (names such as `usr/bin/x`); returns how many.

    Raises:
        PermanentError: a name leaves the tree.
    """
    count = 0
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            name = merged_name(member.name)
            if not name or member.isdev() or not keep(name):
                continue
            path = target / name
            path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            if member.isdir():
                path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            elif member.issym():
                if not path.is_dir():
                    path.symlink_to(member.linkname)
            elif member.islnk():
                os.link(target / merged_name(member.linkname), path)
            else:
                _write(tar, member, path)
            count += 1
    return count


def merged_name(name: str) -> str:
    """The member's path below the root, with /bin and the like already below usr."""
    path = PurePosixPath("/" + name)
    if ".." in path.parts:
        raise PermanentError(f"archive member leaves its tree: `{name}`")
    parts = path.parts[1:]
    if len(parts) > 1 and parts[0] in _MERGED:
        parts = ("usr", *parts)
    return "/".join(parts)


def add_merged_links(root: Path) -> None:
    """The links /bin, /lib, … that Debian has and that no unconfigured package brings."""
    for name in _MERGED:
        if (root / "usr" / name).is_dir() and not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None
    mode = 0o755 if member.mode & 0o111 else 0o644
    with source, path.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    path.chmod(mode)
    os.utime(path, (member.mtime, member.mtime))
