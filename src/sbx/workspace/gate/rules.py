# SPDX-License-Identifier: Apache-2.0
"""What a guest may do at a path of its share, by the path alone: git's own files, and masks. Pure.

Covers (sbx.workspace.shields) are mounts, so they protect only what is there when a sandbox starts
and as long as the host does not replace it. These rules are about names, at whatever time something
gets them. Imports next to nothing: it runs in the helper of every such sandbox, and memory counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

GIT, HIDDEN = b".git", b".sbx"
_FILES = frozenset({b"config", b"config.worktree"})
_WORKTREE_FILES = frozenset({b"commondir", b"gitdir", b"config.worktree"})
_TAILS = (
    (b"info", b"attributes"),
    (b"objects", b"info", b"alternates"),
    (b"objects", b"info", b"http-alternates"),
)
_TRIO = (b"HEAD", b"objects", b"refs")  # what makes a folder a repository in git's eyes
_FOLDER_MARK = "ps_d"  # pathspec's: the pattern matched a folder above

Exists = Callable[[Sequence[bytes]], bool]  # whether there is something, by its path in the mount


def refuses(parts: Sequence[bytes], *, is_new: bool, exists: Exists) -> bool:
    """Whether a guest may not make, write, replace or remove what is at a path of a guarded mount.

    Nothing that git on the host would take its configuration, hooks or place from; and nothing with
    which a folder would become a repository, since its configuration would be the guest's.
    """
    low = [part.lower() for part in parts]  # some file systems do not tell case apart
    if HIDDEN in low or low[-1] in (GIT, b"commondir"):
        return True
    if any(_is_gits_own(low, start, parts, exists) for start in _sensitive(low)):
        return True
    if is_new and GIT not in low and low[-1] in (b"head", b"objects", b"refs"):
        beside = [name for name in _TRIO if name.lower() != low[-1]]
        return all(exists([*parts[:-1], name]) for name in beside) and not exists(parts)
    return False


def refuses_rename(old: Sequence[bytes], new: Sequence[bytes], exists: Exists) -> bool:
    """Whether something other than a file may not change its name so: it takes along what it holds.

    Both names are judged by `refuses` as well.
    """
    inside = GIT in [part.lower() for part in (*old[:-1], *new[:-1])]
    return inside or is_git_folder(new[:-1], exists)


def refuses_link(parts: Sequence[bytes]) -> bool:
    """Whether no symbolic link may be made there: git itself makes none in a `.git`."""
    return GIT in [part.lower() for part in parts[:-1]]


def is_git_folder(parts: Sequence[bytes], exists: Exists) -> bool:
    """Whether git would take a folder for a repository."""
    return all(exists([*parts, name]) for name in _TRIO)


def _sensitive(low: Sequence[bytes]) -> list[int]:
    """Where in a path something begins that would be git's own if a repository were above it."""
    found = [i for i, part in enumerate(low) if part == b"hooks"]
    if low[-1] in _FILES or (
        low[-1] in _WORKTREE_FILES and len(low) > 2 and low[-3] == b"worktrees"
    ):
        found.append(len(low) - 1)
    found += [len(low) - len(tail) for tail in _TAILS if tuple(low[-len(tail) :]) == tail]
    return found


def _is_gits_own(low: Sequence[bytes], start: int, parts: Sequence[bytes], exists: Exists) -> bool:
    if GIT not in low[:start]:
        return is_git_folder(parts[:start], exists)
    inner = low[low.index(GIT) + 1 :]
    depth = start - (len(low) - len(inner))  # of what begins at `start`, below the `.git`
    # A branch may be called `config`: only at these places does the name mean something.
    return depth == 0 or inner[0] == b"modules" or (inner[0] == b"worktrees" and depth == 2)


class Masks:
    """The patterns of one mount, as expressions that pathspec made of them; later ones win."""

    __slots__ = ("_patterns", "has_paths")

    def __init__(self) -> None:
        self._patterns: list[tuple[bool, re.Pattern[str]]] = []
        self.has_paths = False  # one of them is about a path, so a folder's name counts

    def add(self, expression: str, *, include: bool, has_path: bool) -> None:
        """Add a pattern."""
        self._patterns.append((include, re.compile(expression)))
        self.has_paths |= has_path

    def match(self, name: str, *, is_folder: bool) -> bool:
        """Whether something with this name, relative to the mount, is masked."""
        if is_folder:
            name += "/"
        found, rank = False, 0
        for include, pattern in self._patterns:
            hit = pattern.match(name)
            if hit is None:
                continue
            mine = 1 if hit.groupdict().get(_FOLDER_MARK) else 2
            if (include and mine == 1) or mine >= rank:
                found, rank = include, mine
        return found
