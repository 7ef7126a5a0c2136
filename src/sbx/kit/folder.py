# SPDX-License-Identifier: Apache-2.0
"""A kit in a folder of the host: read without following links, so it holds only what lies in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sbx.kit.bundle import TOP, Bundle, BundleBuilder
from sbx.kit.findings import KitError
from sbx.system.files import owned_fd

_MAX_DEPTH = 40


def read_folder(path: Path, *, what: str) -> Bundle:
    """The kit in a folder.

    Raises:
        KitError: it is no kit, or holds what no kit may.
    """
    builder = BundleBuilder(what)
    try:
        with owned_fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            for name in TOP:
                _add(builder, root, name, name, must=False)
            if "files" in _names(root):
                for inner, name, relative in _walk(builder, root, "files", "files", 0):
                    _add(builder, inner, name, relative, must=True)
    except OSError as error:
        raise KitError(f"cannot read kit `{what}`: {error.strerror}") from error
    return builder.finish()


def _names(folder: int) -> list[str]:
    """The names in an open folder."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _walk(
    builder: BundleBuilder, parent: int, name: str, relative: str, depth: int
) -> Iterator[tuple[int, str, str]]:
    """Every file below a folder: the open folder that it lies in, its name, its path."""
    if depth > _MAX_DEPTH:
        raise builder.refused(relative, "is nested too deep")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with owned_fd(os.open(name, flags, dir_fd=parent)) as here:
        for entry in _names(here):
            path = f"{relative}/{entry}"
            if stat.S_ISDIR(os.stat(entry, dir_fd=here, follow_symlinks=False).st_mode):
                yield from _walk(builder, here, entry, path, depth + 1)
            else:
                yield here, entry, path


def _add(builder: BundleBuilder, folder: int, name: str, relative: str, *, must: bool) -> None:
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if must:
            raise
        return
    if stat.S_ISLNK(facts.st_mode):
        builder.add_link(relative, os.readlink(name, dir_fd=folder))
        return
    if not stat.S_ISREG(facts.st_mode):
        raise builder.refused(relative, "is neither file, folder nor link")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise builder.refused(relative, "is neither file, folder nor link")
        data = file.read(builder.room() + 1)
    builder.add(relative, data, mode=facts.st_mode)
