# SPDX-License-Identifier: Apache-2.0
"""Branch mode and clone mode: what was asked, and what is known of the sandbox's work. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class GitMode(StrEnum):
    """Where the sandbox works."""

    BRANCH = "branch"  # in a hidden worktree on the host, on a branch of the host's repository
    CLONE = "clone"  # in a clone on its own disk


@dataclass(frozen=True, slots=True, kw_only=True)
class GitWorkspace:
    """The repository that a sandbox started from; fixed at its creation."""

    mode: GitMode
    repository: Path  # top folder of the user's working tree
    git_dir: Path  # of that working tree
    common_dir: Path  # what all working trees of the repository share
    object_dirs: tuple[Path, ...]  # its object store and those that it borrows from
    object_format: str  # sha1 or sha256
    start: str  # commit id
    branch: str | None  # that the sandbox works on; None: detached
    base: str | None  # that was checked out on the host; None: detached
    worktree: Path  # top folder of what the sandbox works in: on the host or, a clone, inside
    # A clone of this, made inside: then no path but `worktree` is the user's, and `start` is empty.
    url: str | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.url or str(self.repository)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """What was brought over from the sandbox, as of `at`."""

    at: datetime  # UTC
    head: str | None  # commit id of the sandbox's branch
    ahead: int  # commits of the sandbox that are not in where it started
    uncommitted: int  # files with changes that no commit has
    problem: str | None = None  # why the last attempt brought less, or nothing, over
