# SPDX-License-Identifier: Apache-2.0
"""What of a shared folder the sandbox may not write, or not even see: git's own files, and masks.

A shield is a bind in the file server's jail, so that guest root, who can undo any mount of the
guest, still meets it. They are found when a sandbox starts: by name for git, by pattern for masks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbx.errors import HostError, UserError
from sbx.sandbox.spec import Mount
from sbx.system.files import private_folder, read_bounded
from sbx.workspace.gate.gate import GateRules
from sbx.workspace.patterns import compile_patterns

IGNORE_FILE = ".sbxignore"
_MAX_SHIELDS = 4000  # each is a mount of the jail and an open file while it is made
_MAX_FOLDERS = 20_000  # that are looked into for repositories
_DEPTH = 4
_IGNORE_BYTES = 1 << 20
# In a git folder: made if they are missing, since git reads them when somebody else makes them.
_GIT_FOLDERS = ("hooks",)
_GIT_FILES = ("config", "config.worktree", "info/attributes", "objects/info/alternates")
_WORKTREE_FILES = ("commondir", "gitdir", "config.worktree")
HIDDEN = ".sbx"


def git_shields(mounts: Sequence[Mount], empty: Path) -> tuple[Mount, ...]:
    """Read-only binds of hooks, configuration and the like; what is missing is made, empty.

    Repositories are looked for down to four levels. The worktrees of other sandboxes are hidden.

    Raises:
        HostError: a file cannot be made.
    """
    found: list[Mount] = []
    for mount in mounts:
        if mount.read_only or mount.is_file:
            continue
        if _is_git_folder(mount.source):  # a bare repository is shared
            found += [_shield(mount, path, path) for path in _of_git_folder(mount.source)]
        for folder in _folders(mount.source):
            found += [_shield(mount, path, path) for path in _of_working_tree(folder)]
            hidden = folder / HIDDEN
            if hidden.is_dir() and not hidden.is_symlink():
                found.append(_shield(mount, hidden, private_folder(empty / "folder")))
    return tuple(found)


def _of_working_tree(folder: Path) -> Iterator[Path]:
    """What is shielded of a folder's `.git`."""
    git = folder / ".git"
    if git.is_symlink():
        return  # what it leads to is elsewhere in the mount, or not in reach
    if git.is_dir():
        yield from _of_git_folder(git)
    elif git.is_file():  # of a linked worktree or a submodule: it says where the rest is
        yield git


def mask_shields(
    mounts: Sequence[Mount], patterns: Sequence[str], private: Sequence[str], empty: Path
) -> tuple[Mount, ...]:
    """Empty files and folders over everything that a pattern matches, and over `private` folders.

    `patterns` are those of the command line; each mount's own `.sbxignore` is added, and is
    shielded itself. `empty` is a folder of ours for what is shown instead.

    Raises:
        UserError: too much matches.
    """
    nothing, void = empty / "file", private_folder(empty / "folder")
    if not nothing.exists():
        nothing.write_bytes(b"")
    found: list[Mount] = []
    for number, mount in enumerate(mounts):
        ignore = mount.source / IGNORE_FILE
        own = read_patterns(mount.source) if not mount.is_file else []
        if own and not mount.read_only:
            found.append(_shield(mount, ignore, ignore))
        volumes = [_volume(mount, path) for path in private] if number == 0 else []
        found += [_shield(mount, path, void) for path in volumes]
        for path in _matching(mount, [*own, *patterns]):
            if path not in volumes:
                found.append(_shield(mount, path, void if path.is_dir() else nothing))
        if len(found) > _MAX_SHIELDS:
            raise UserError(
                f"more than {_MAX_SHIELDS} files are masked in `{mount.source}`",
                hint="Mask their folder instead: --mask FOLDER/",
            )
    return tuple(found)


def gate_rules(
    mounts: Sequence[Mount], patterns: Sequence[str], empty: Path, *, guarded_from: int
) -> GateRules:
    """What holds for names beyond what is covered at the start; `mounts` are the user's own.

    Git's own files are guarded in those from number `guarded_from` on.
    """
    masks: dict[int, tuple[str, ...]] = {}
    fixed: set[bytes] = set()
    for number, mount in enumerate(mounts):
        own = [] if mount.is_file else read_patterns(mount.source)
        # A file that the guest makes cannot take back what the command line says: that comes last.
        found = tuple(line for line in (*own, *patterns) if line.strip())
        if found and not mount.is_file:
            masks[number] = found
            fixed.add(b"%d/" % number + IGNORE_FILE.encode())
    guarded = [n for n, mount in enumerate(mounts) if not (mount.read_only or mount.is_file)]
    return GateRules(
        guarded=frozenset(number for number in guarded if number >= guarded_from),
        masks=masks,
        covers=(empty / "file", private_folder(empty / "folder")) if masks else (),
        fixed=frozenset(fixed),
    )


def read_patterns(folder: Path) -> list[str]:
    """The lines of a folder's `.sbxignore`; none if there is no such file."""
    path = folder / IGNORE_FILE
    if path.is_symlink() or not path.is_file():
        return []
    return read_bounded(path, limit_bytes=_IGNORE_BYTES).decode(errors="replace").splitlines()


def _matching(mount: Mount, patterns: Sequence[str]) -> Iterator[Path]:
    """What is masked in a mount; what lies in a masked folder is not looked at."""
    if not patterns:
        return
    spec = compile_patterns(patterns)
    if mount.is_file:
        if spec.match_file(mount.source.name):
            yield mount.source
        return
    queue = [mount.source]
    while queue:
        folder = queue.pop()
        for entry in _entries(folder):
            if entry.name == ".git":
                continue
            path = Path(entry.path)
            name = str(path.relative_to(mount.source))
            is_folder = entry.is_dir(follow_symlinks=False)
            if spec.match_file(f"{name}/" if is_folder else name):
                if is_folder or entry.is_file(follow_symlinks=False):
                    yield path
            elif is_folder:
                queue.append(path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []  # closed to us, so closed to the file server


def _folders(top: Path) -> Iterator[Path]:
    """`top` and the folders below it, down to four levels, as far as there are not too many."""
    level, seen = [top], 0
    for _depth in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            yield folder
            seen += 1
            if seen >= _MAX_FOLDERS:
                return
            below += [
                Path(entry.path)
                for entry in _entries(folder)
                if entry.is_dir(follow_symlinks=False) and entry.name not in (".git", HIDDEN)
            ]
        level = below


def _of_git_folder(folder: Path) -> Iterator[Path]:
    """What is shielded in a git folder."""
    if not os.access(folder, os.W_OK):
        return  # it is closed to us, so closed to the file server
    for name in _GIT_FOLDERS:
        yield _present(folder / name, is_folder=True)
    for name in _GIT_FILES:
        yield _present(folder / name, is_folder=False)
    for entry in _entries(folder / "worktrees"):
        for name in _WORKTREE_FILES:
            path = Path(entry.path) / name
            if path.is_file() and not path.is_symlink():
                yield path
    for module in _folders(folder / "modules"):
        if _is_git_folder(module):
            yield from (_present(module / "hooks", is_folder=True), module / "config")


def _is_git_folder(folder: Path) -> bool:
    return (
        (folder / "HEAD").is_file() and (folder / "config").is_file()
        and (folder / "objects").is_dir() and (folder / "refs").is_dir()
    )  # fmt: skip


def _volume(mount: Mount, path: str) -> Path:
    """The place of a private folder; a link on the way would lead the mount somewhere else."""
    place = mount.source / path
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make `{place}`: {error.strerror}") from error
    if place.resolve() != place:
        raise UserError(f"a symbolic link is in the way of a private folder: `{place}`")
    return place


def _present(path: Path, *, is_folder: bool) -> Path:
    """Make an empty one if there is none: only what exists can be shielded."""
    if path.is_symlink():
        raise HostError(
            f"`{path}` is a symbolic link and cannot be shielded",
            hint="Share the folder with :ro, or with --git-unsafe",
        )
    if path.exists():
        return path
    try:
        if is_folder:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot shield `{path}`: {error.strerror}",
            hint="Share the folder with :ro, or with --git-unsafe",
        ) from error
    return path


def _shield(mount: Mount, path: Path, source: Path) -> Mount:
    target = mount.target / path.relative_to(mount.source)
    return Mount(source=source, target=target, read_only=True, is_file=not source.is_dir())
