# SPDX-License-Identifier: Apache-2.0
"""What a user may share and where it appears: path arguments become `Mount`s, once, at the edge.

Forms: `path[:ro]`, `source:target[:ro]`; `:readonly` and `:rw` are understood too. A source is
stored with every symbolic link resolved; the target is the absolute path as the user named it, so
that a prompt inside reads like the one outside. docs/workspace.md lists what is refused and why.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from sbx.errors import NotFoundError, UserError
from sbx.sandbox.spec import Mount

_MODES = {"ro": True, "readonly": True, "rw": False}
_KERNEL_SOURCES = (Path("/proc"), Path("/sys"), Path("/dev"))
# Nothing may appear at these or below them: the sandbox's own mounts are there.
_CLOSED_TREES = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/docker")))
# Nothing may appear exactly here (a file or folder below is fine): it would hide the system.
_SYSTEM_FOLDERS = frozenset(
    map(
        Path,
        (
            *("/", "/bin", "/boot", "/etc", "/home", "/home/agent", "/lib", "/lib32", "/lib64"),
            *("/libx32", "/sbin", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64"),  # noqa: S108 - the guest's folders
            *("/usr/libexec", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/sbin"),
            *("/usr/share", "/var", "/var/lib"),
        ),
    )
)


class MissingPathError(NotFoundError):
    """The path to share does not exist; a front end with a terminal may offer to make `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"path not found: `{path}`",
            hint=f"Create it first, for example: mkdir -p '{path}'",
        )
        self.path = path


def parse_mounts(
    args: Sequence[str], *, cwd: Path, private: Sequence[Path] = ()
) -> tuple[Mount, ...]:
    """Parse path arguments; the first is the primary workspace, which must be a folder.

    `private` are the folders of this installation: never shared, nor is a folder around them.

    Raises:
        MissingPathError: a path does not exist.
        UserError: an argument cannot be understood or must not be shared.
    """
    mounts = tuple(_parse(arg, cwd) for arg in args)
    for mount in mounts:
        _check_source(mount.source, [path.resolve() for path in private])
        _check_target(mount.target)
    if mounts and mounts[0].is_file:
        raise UserError(
            f"workspace is not a folder: `{mounts[0].source}`",
            hint="Name a folder first; a file may follow it",
        )
    targets = [mount.target for mount in mounts]
    for target in targets:
        if targets.count(target) > 1:
            raise UserError(f"two mounts have the same target: `{target}`")
    for mount in mounts:
        outer = enclosing(mounts, mount.target)
        if outer is not None:
            _check_nested(outer, mount)
    return mounts


def mount_order(mounts: Sequence[Mount]) -> tuple[int, ...]:
    """Indices in the order to mount: what lies inside another mount comes after it."""
    return tuple(sorted(range(len(mounts)), key=lambda i: len(mounts[i].target.parts)))


def enclosing(mounts: Sequence[Mount], target: Path) -> Mount | None:
    """The innermost mount that `target` lies strictly inside of."""
    around = [mount for mount in mounts if mount.target in target.parents]
    return max(around, key=lambda mount: len(mount.target.parts), default=None)


def ownership_warning(mounts: Iterable[Mount], *, uid: int) -> str | None:
    """A sentence about a writable mount that the sandbox will not be able to write, if any.

    The file server has no privileges, even when root starts it: the mode bits bind it.
    """
    for mount in mounts:
        facts = mount.source.stat()
        if not mount.read_only and facts.st_uid != uid and not facts.st_mode & stat.S_IWOTH:
            return (
                f"`{mount.source}` belongs to user {facts.st_uid}, not to you ({uid}): "
                "the sandbox can read it but not write it"
            )
    return None


def private_paths(paths: Sequence[str], mounts: Sequence[Mount]) -> tuple[str, ...]:
    """Paths of `--private`, relative to the workspace; their folders are made if missing.

    Raises:
        UserError: there is no workspace that can be written, or a path leads out of it.
    """
    if not paths:
        return ()
    if not mounts or mounts[0].read_only:
        raise UserError("--private needs a workspace that can be written")
    found: list[str] = []
    for path in paths:
        relative = os.path.normpath(path)
        if relative.startswith(("/", "..")) or relative == "." or relative.split("/")[0] == ".git":
            raise UserError(
                f"not a folder below the workspace: `{path}`",
                hint="Name it relative to the workspace, such as: --private node_modules",
            )
        found.append(relative)
    return tuple(dict.fromkeys(found))


def _parse(arg: str, cwd: Path) -> Mount:
    _check_text(arg)
    named, target, read_only = _split(arg, cwd)
    path = cwd / named
    try:
        source = path.resolve(strict=True)
        facts = source.stat()
    except FileNotFoundError as error:
        raise MissingPathError(path) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise UserError(
            f"cannot use `{path}`: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not (stat.S_ISDIR(facts.st_mode) or stat.S_ISREG(facts.st_mode)):
        raise UserError(f"neither a folder nor a regular file: `{path}`")
    is_file = stat.S_ISREG(facts.st_mode)
    if not os.access(source, os.R_OK if is_file else os.R_OK | os.X_OK):
        raise UserError(f"no permission to read `{path}`")
    if target is None:
        # `..` after a symbolic link means what the kernel says, not what the text says.
        target = source if ".." in path.parts else Path(os.path.normpath(path))
    return Mount(source=source, target=target, read_only=read_only, is_file=is_file)


def _split(arg: str, cwd: Path) -> tuple[str, Path | None, bool]:
    """Take an argument apart; of the readings whose source exists, the longest source wins."""
    if os.path.lexists(cwd / arg):
        return arg, None, False
    rest, colon, mode = arg.rpartition(":")
    read_only = _MODES[mode] if colon and mode in _MODES else None
    if read_only is None:
        rest = arg
    if not rest:
        raise UserError(f"no path in `{arg}`")
    if os.path.lexists(cwd / rest):
        return rest, None, bool(read_only)
    cuts = [i for i, char in enumerate(rest) if char == ":"]
    for cut in reversed(cuts):
        source, target = rest[:cut], rest[cut + 1 :]
        if source and os.path.lexists(cwd / source):
            return source, _parse_target(target), bool(read_only)
    before, found, after = rest.partition(":/")
    return (
        (before, _parse_target("/" + after), bool(read_only))
        if found and before
        else (rest, None, False)
    )


def _parse_target(text: str) -> Path:
    if not text.startswith("/"):
        raise UserError(
            f"neither a mode nor an absolute path after the colon: `{text}`",
            hint="Use PATH:ro, or SOURCE:/absolute/target[:ro]",
        )
    if ".." in text.split("/"):
        raise UserError(f"target has `..` in it: `{text}`")
    return Path("/" + os.path.normpath(text).lstrip("/"))


def _check_text(arg: str) -> None:
    shown = ascii(arg)[1:-1]
    if not arg:
        raise UserError("path is empty")
    try:
        arg.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"path is not UTF-8: `{shown}`", hint="Rename it, or share its parent folder"
        ) from error
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in arg):
        raise UserError(
            f"path has a control character in it: `{shown}`",
            hint="Rename it, or share its parent folder",
        )


def _check_source(source: Path, private: Sequence[Path]) -> None:
    if source == Path("/"):
        raise UserError("the whole file system cannot be shared", hint="Name a folder below it")
    for tree in _KERNEL_SOURCES:
        if source.is_relative_to(tree):
            raise UserError(f"not a place for files to share: `{source}`")
    for folder in private:
        if source.is_relative_to(folder) or folder.is_relative_to(source):
            raise UserError(
                f"`{source}` cannot be shared: sbx keeps its own files in `{folder}`",
                hint="Name a project's folder instead",
            )


def _check_target(target: Path) -> None:
    if target in _SYSTEM_FOLDERS or any(target.is_relative_to(tree) for tree in _CLOSED_TREES):
        raise UserError(
            f"target would hide a part of the sandbox's system: `{target}`",
            hint="Choose another place: SOURCE:/absolute/target",
        )


def _check_nested(outer: Mount, inner: Mount) -> None:
    """The place for `inner` must be there already: we make nothing in the user's folder unasked."""
    place = outer.source / inner.target.relative_to(outer.target)
    kind = "file" if inner.is_file else "folder"
    # A link on the way would carry the mount to another place: only the real path counts.
    if not place.exists() or place.resolve() != place or place.is_file() != inner.is_file:
        raise UserError(
            f"no {kind} at `{place}` to mount `{inner.source}` on",
            hint=f"Create an empty {kind} there, or choose a target outside `{outer.target}`",
        )
