# SPDX-License-Identifier: Apache-2.0
"""Branch and clone mode around a sandbox's life: planned, made with it, removed with it."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from sbx.control.client import connect
from sbx.control.messages import Request, Verb
from sbx.errors import SbxError, UserError
from sbx.sandbox.git import GitMode, GitWorkspace
from sbx.sandbox.spec import Mount, SandboxSpec
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.locks import is_locked
from sbx.workspace.git import branch, from_url, quarantine, remote, seed
from sbx.workspace.git.door import Git, check_version
from sbx.workspace.git.repository import Repository, find_repository, identity
from sbx.workspace.shields import read_patterns

log = logging.getLogger(__name__)

_SYNC_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitPlan:
    """What branch or clone mode makes of the workspace that was named."""

    work: GitWorkspace
    mounts: tuple[Mount, ...]
    workdir: str


def repository_of(mount: Mount, *, flag: str) -> Repository:
    """The repository around a workspace, for `--branch` or `--clone`.

    Raises:
        UserError: there is none that a sandbox can work on, or the mount is of a kind that does
            not go with it.
        HostError: git is missing or too old.
    """
    if mount.read_only:
        raise UserError(f"{flag} needs a workspace that can be written", hint="Leave `:ro` out")
    if mount.target.resolve() != mount.source:
        raise UserError(f"with {flag} the workspace keeps its path", hint="Leave the target out")
    check_version()
    return find_repository(mount.source, flag=flag)


def plan_branch(
    repository: Repository, mounts: tuple[Mount, ...], wanted: str, *, sandbox: str
) -> GitPlan:
    """Plan branch mode; nothing is made yet.

    Raises:
        UserError: the branch cannot be had.
    """
    name = branch.choose_branch(repository, wanted, sandbox=sandbox)
    work = branch.plan_branch(repository, name, sandbox=sandbox)
    below = mounts[0].source.relative_to(repository.top)
    first = Mount(source=work.worktree, target=work.worktree)
    return GitPlan(work=work, mounts=(first, *mounts[1:]), workdir=str(work.worktree / below))


def plan_clone(repository: Repository, mounts: tuple[Mount, ...]) -> GitPlan:
    """Plan clone mode; nothing is made yet."""
    below = mounts[0].source.relative_to(repository.top)
    work = remote.plan_clone(repository)
    return GitPlan(work=work, mounts=mounts[1:], workdir=str(repository.top / below))


def plan_url(where: Paths, url: str, mounts: tuple[Mount, ...], *, sandbox: str) -> GitPlan:
    """Plan a clone of a URL; nothing is made yet (UserError: it cannot be one)."""
    quarantine = where.sandbox(sandbox) / names.GIT_REPOSITORY
    work = from_url.plan_url_clone(from_url.check_url(url), quarantine)
    check_version()
    return GitPlan(work=work, mounts=mounts, workdir=str(work.worktree))


def make(where: Paths, spec: SandboxSpec) -> None:
    """Make what the plan says, for a sandbox whose folder is there.

    Raises:
        SbxError: something is in the way, or git could not.
    """
    work = spec.git
    if work is None:
        return
    folder = where.sandbox(spec.name)
    if work.url is not None:
        from_url.write_url_seed(folder / names.GIT_SEED, identity(folder))
        quarantine.make_quarantine(folder / names.GIT_REPOSITORY, work)
        return
    index: Path | None = None
    if work.mode is GitMode.BRANCH:
        branch.make_worktree(work)
        index = branch.index_of(work)
    owner = identity(work.common_dir)
    masks = [*spec.masks, *read_patterns(work.repository)]
    if work.worktree != work.repository:
        masks += read_patterns(work.worktree)
    place = folder / names.GIT_SEED
    seed.write_seed(work, place, index=index, identity=owner, masks=masks)
    quarantine.make_quarantine(folder / names.GIT_REPOSITORY, work)
    if work.mode is GitMode.CLONE:
        remote.add_remote(work, folder / names.GIT_REPOSITORY, sandbox=spec.name)


def remove(spec: SandboxSpec, *, delete_branch: bool = False) -> None:
    """Remove what `make` made outside the sandbox's folder; the branch stays unless told."""
    work = spec.git
    if work is None or work.url is not None or not work.common_dir.is_dir():
        return
    with contextlib.suppress(SbxError):
        quarantine.unpublish(work, sandbox=spec.name)
    if work.mode is GitMode.CLONE:
        with contextlib.suppress(SbxError):
            remote.remove_remote(work, sandbox=spec.name)
    if work.mode is GitMode.BRANCH:
        branch.remove_worktree(work)
        if delete_branch:
            branch.delete_branch(work)


def host_branches(where: Paths, name: str) -> tuple[str, bytes]:
    """For `push`: where the sandbox's repository is inside, and input for `update-ref --stdin`.

    Raises:
        UserError: the sandbox works directly in a folder of the host.
    """
    spec = records.read_spec(where, name)
    if spec.git is None:
        raise UserError(f"sandbox `{name}` works directly in its workspace: it sees your commits")
    if spec.git.url is not None:
        raise UserError(
            f"sandbox `{name}` works in a clone of {spec.git.url}, not of a folder of yours",
            hint="Push there, and then fetch inside: sbx exec " + name + " git fetch",
        )
    return str(seed.git_dir_inside(spec.git)), seed.branches_for_inside(spec.git)


def losses(where: Paths, spec: SandboxSpec, *, delete_branch: bool = False) -> tuple[str, ...]:
    """Sentences about what a removal would lose, as of the last time something was brought over.

    Raises:
        SbxError: git could not tell.
    """
    work = spec.git
    if work is None or not work.common_dir.is_dir():
        return ()
    found: list[str] = []
    if work.url is not None:
        found += from_url.url_losses(Git(git_dir=work.common_dir), spec.name)
        return (*found, *_uncommitted(where, spec))
    kept = None if delete_branch else work.branch
    commits = quarantine.count_unmerged(work, sandbox=spec.name, kept=kept)
    if commits:
        found.append(f"{commits} commits of sandbox {spec.name} are on no other branch")
    return (*found, *_uncommitted(where, spec))


def _uncommitted(where: Paths, spec: SandboxSpec) -> tuple[str, ...]:
    state = records.read_record(where, spec.name).git
    if state is None or not state.uncommitted:
        return ()
    return (f"{state.uncommitted} files in sandbox {spec.name} have uncommitted changes",)


def sync(where: Paths, name: str, *, timeout_s: float = _SYNC_TIMEOUT_S) -> None:
    """Bring over what a running sandbox has; one that is stopped did so when it stopped.

    Raises:
        SbxError: the sandbox does not answer, or what it sends is not accepted.
    """
    spec = records.read_spec(where, name)
    if spec.git is None or not is_locked(where.sandbox(name) / names.SUPERVISOR_LOCK):
        return
    with connect(where.run_folder(spec.id) / names.CONTROL_SOCKET) as client:
        client.ask(Request(verb=Verb.SYNC), timeout_s=timeout_s)
