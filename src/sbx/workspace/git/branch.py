# SPDX-License-Identifier: Apache-2.0
"""Branch mode on the host: a hidden worktree on a branch, made and removed with git's own means.

The user's working tree, index, HEAD and configuration stay as they are, byte for byte.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

from sbx.errors import ConflictError, HostError, UserError
from sbx.sandbox.git import GitMode, GitWorkspace
from sbx.system.files import write_atomic
from sbx.system.process import CommandError
from sbx.workspace.git.door import Git
from sbx.workspace.git.repository import Repository, neutral_drivers

AUTO = "auto"
HIDDEN = ".sbx"
_EXCLUDED = f"/{HIDDEN}/"
_UNUSABLE = re.compile(r"[^A-Za-z0-9.-]+")


def choose_branch(repository: Repository, wanted: str, *, sandbox: str) -> str:
    """The branch for a new sandbox; `auto` finds a free name.

    Raises:
        UserError: it cannot be the name of a branch.
        ConflictError: it is checked out somewhere.
    """
    git = repository.git()
    if wanted == AUTO:
        first = f"sbx-{_UNUSABLE.sub('-', sandbox)}"
        name, number = first, 1
        while _has_branch(git, name):
            number += 1
            name = f"{first}-{number}"
        return name
    if wanted.startswith("-") or not git.succeeds("check-ref-format", "--branch", wanted):
        raise UserError(f"not a name for a branch: `{wanted}`", hint="Use letters, digits, - and /")
    for line in git.text("worktree", "list", "--porcelain").splitlines():
        if line == f"branch refs/heads/{wanted}":
            raise ConflictError(
                f"branch `{wanted}` is checked out already",
                hint="Use another name, or --branch auto",
            )
    return wanted


def plan_branch(repository: Repository, branch: str, *, sandbox: str) -> GitWorkspace:
    """What branch mode will be for this sandbox. Makes nothing."""
    git = repository.git()
    start = git.commit(f"refs/heads/{branch}") or repository.start
    assert start is not None  # find_repository has checked it
    return GitWorkspace(
        mode=GitMode.BRANCH,
        repository=repository.top,
        git_dir=repository.git_dir,
        common_dir=repository.common_dir,
        object_dirs=repository.object_dirs(),
        object_format=repository.object_format,
        start=start,
        branch=branch,
        base=repository.branch,
        worktree=repository.top / HIDDEN / f"{sandbox}-worktrees" / branch,
    )


def make_worktree(work: GitWorkspace) -> None:
    """Make branch and worktree and check the files out; on a failure both are gone again.

    Raises:
        ConflictError: something is in the way.
        HostError: git could not do it.
    """
    place, git = work.worktree, _git(work)
    _exclude(work)
    if place.exists() or place.is_symlink():
        raise ConflictError(f"something is in the way: `{place}`", hint=f"Move it away: {place}")
    _real_folders(work.repository, place.parent)
    is_new = not _has_branch(git, work.branch or "")
    options = ["-b", work.branch, place, work.start] if is_new else [place, work.branch]
    with contextlib.ExitStack() as undo:
        undo.callback(remove_worktree, work)
        if is_new:
            undo.callback(git.run, "branch", "-D", "--", work.branch or "", check=False)
        try:
            git.run("worktree", "add", "--no-checkout", *(option or "" for option in options))
            _worktree_git(work).run("read-tree", "-m", "-u", "HEAD")
        except CommandError as error:
            raise HostError(f"cannot make the worktree `{place}`", details=error.details) from error
        undo.pop_all()


def refresh_index(work: GitWorkspace) -> None:
    """Let the worktree's index on the host follow its branch; files are not looked at."""
    git = _worktree_git(work)
    if git.git_dir.is_dir():
        git.run("read-tree", "HEAD")


def remove_worktree(work: GitWorkspace) -> None:
    """Remove the worktree and git's notes about it; the branch stays."""
    notes = _notes(work)
    _delete(work.worktree)
    if notes is not None:
        shutil.rmtree(notes, ignore_errors=True)
    for folder in work.worktree.parents:
        if folder == work.repository:
            break
        with contextlib.suppress(OSError):  # not empty, or gone
            folder.rmdir()


def delete_branch(work: GitWorkspace) -> None:
    """Delete the branch itself (after its worktree)."""
    if work.branch is not None:
        _git(work).run("update-ref", "-d", f"refs/heads/{work.branch}")


def has_worktree(work: GitWorkspace) -> bool:
    """Whether git on the host still knows the worktree."""
    return _notes(work) is not None


def index_of(work: GitWorkspace) -> Path:
    """The index of the worktree on the host."""
    return _worktree_git(work).git_dir / "index"


def _git(work: GitWorkspace) -> Git:
    return Git(git_dir=work.common_dir, config=neutral_drivers(work.common_dir))


def _worktree_git(work: GitWorkspace) -> Git:
    notes = _notes(work)
    if notes is None:
        raise HostError(f"git no longer knows the worktree `{work.worktree}`")
    return replace(_git(work), git_dir=notes, work_tree=work.worktree)


def _notes(work: GitWorkspace) -> Path | None:
    """Git's folder for the worktree, found from git's side: the worktree is the guest's."""
    folder = work.common_dir / "worktrees"
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            if (entry / "gitdir").read_text().rstrip("\n") == str(work.worktree / ".git"):
                return entry
    return None


def _has_branch(git: Git, name: str) -> bool:
    return git.succeeds("show-ref", "--verify", "--quiet", f"refs/heads/{name}")


def _exclude(work: GitWorkspace) -> None:
    """Keep the hidden folder out of the user's `git status`."""
    path = work.common_dir / "info" / "exclude"
    text = path.read_bytes() if path.is_file() else b""
    if _EXCLUDED.encode() in text.splitlines():
        return
    path.parent.mkdir(exist_ok=True)
    gap = b"" if not text or text.endswith(b"\n") else b"\n"
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    write_atomic(path, text + gap + _EXCLUDED.encode() + b"\n", mode=mode)


def _real_folders(top: Path, folder: Path) -> None:
    """Make the folders below `top`; a link among them would lead the worktree somewhere else."""
    done = top
    for part in folder.relative_to(top).parts:
        done /= part
        done.mkdir(exist_ok=True)
        if done.is_symlink():
            raise ConflictError(f"a symbolic link is in the way: `{done}`", hint=f"Run: rm {done}")


def _delete(folder: Path) -> None:
    """Delete a tree that a guest wrote: links are not followed, closed folders are opened."""

    def open_up(_function: object, path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            parent = Path(path).parent
            parent.chmod(0o700)
            if Path(path).is_symlink() or not Path(path).is_dir():
                Path(path).unlink()
            else:
                Path(path).chmod(0o700)
                shutil.rmtree(path)

    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, onerror=open_up)
