# SPDX-License-Identifier: Apache-2.0
"""What a sandbox changed since it started: read from checked objects, never from its files."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sbx.errors import PermanentError
from sbx.workspace.git.door import Git
from sbx.workspace.git.quarantine import known
from sbx.workspace.git.review import LINK, ChangedFile

MAX_FILES = 50_000
_SAFE = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules=none")


def tip_of(git: Git) -> str | None:
    """The sandbox's work, uncommitted changes included, as a commit of the quarantine."""
    refs = known(git)
    return refs.wip or refs.head


def head_of(git: Git) -> str | None:
    """The commit that is checked out inside."""
    return known(git).head


def diff_text(git: Git, start: str, tip: str, *, summary: bool) -> str:
    """The difference as a patch, or as a summary per file.

    Raises:
        CommandError: git could not.
    """
    form = ["--stat=100"] if summary else ["--patch", "--binary"]
    return os.fsdecode(git.run("diff", *_SAFE, *form, start, tip, "--").stdout)


def changed_files(git: Git, start: str, tip: str) -> tuple[ChangedFile, ...]:
    """Every path that differs.

    Raises:
        PermanentError: there are more than anybody will look at.
    """
    raw = git.run("diff", *_SAFE, "--raw", "-z", "--no-abbrev", start, tip, "--").stdout
    fields = os.fsdecode(raw).split("\0")[:-1]
    if len(fields) > 2 * MAX_FILES:
        raise PermanentError(f"more than {MAX_FILES} files were changed")
    return tuple(_parse(git, fields))


def _parse(git: Git, fields: list[str]) -> Iterator[ChangedFile]:
    for facts, path in zip(fields[::2], fields[1::2], strict=True):
        old_mode, new_mode, _old, new, status = facts.removeprefix(":").split(" ")
        mode = int(new_mode, 8)
        target = None
        if mode == LINK:
            target = os.fsdecode(git.run("cat-file", "blob", new).stdout)
        yield ChangedFile(
            path=path, status=status[:1], old_mode=int(old_mode, 8), new_mode=mode,
            link_target=target,
        )  # fmt: skip
