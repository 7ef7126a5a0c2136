# SPDX-License-Identifier: Apache-2.0
"""A sandbox's commits on the host: taken over git's own protocol into a repository of ours.

The guest answers as a hostile git server would: its refs are parsed under bounds, its pack goes
through `index-pack --strict` (every object is checked, links are complete), and only then does a
ref of ours name it. The repository borrows the user's objects, holds no configuration of anybody
else, and no guest can write to it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sbx.errors import PermanentError
from sbx.sandbox.git import GitMode, GitWorkspace
from sbx.workspace.git.door import Git
from sbx.workspace.git.seed import WIP_REF

HEADS = "refs/guest/heads/"
WIP = "refs/guest/wip"
HEAD = "refs/guest/head"
START = "refs/guest/start"
PUBLIC = "refs/sandboxes/"
_MAX_REFS = 2000
_MAX_LISTING_BYTES = 1 << 20
_TAKE_TIMEOUT_S = 300.0
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRefs:
    """What the guest says that it has: branches and the commit of what is not committed."""

    heads: dict[str, str]  # name without refs/heads/ -> commit id
    wip: str | None
    head: str | None  # what is checked out inside

    def wanted_values(self) -> list[str]:
        """The commits."""
        return [*self.heads.values(), *filter(None, (self.wip, self.head))]

    def wanted(self) -> dict[str, str]:
        """The guest's ref -> ours."""
        found = {f"refs/heads/{name}": HEADS + name for name in self.heads}
        if self.wip is not None:
            found[WIP_REF] = WIP
        if self.head is not None:
            found["HEAD"] = HEAD
        return found


def make_quarantine(path: Path, work: GitWorkspace) -> Git:
    """Make the repository.

    Raises:
        CommandError: git could not.
    """
    git = Git(git_dir=path)
    git.run("init", "--quiet", "--bare", "--template=", f"--object-format={work.object_format}",
            path)  # fmt: skip
    (path / "objects" / "info").mkdir(exist_ok=True)
    lines = "\n".join(str(folder) for folder in work.object_dirs) + "\n"
    (path / "objects" / "info" / "alternates").write_text(lines, errors="surrogateescape")
    shallow = work.common_dir / "shallow"
    if shallow.is_file():
        (path / "shallow").write_bytes(shallow.read_bytes())
    if work.url is not None:
        return git  # it starts from what the sandbox clones
    git.run("update-ref", START, work.start)
    git.run("update-ref", HEAD, work.start)
    if work.branch is not None:
        git.run("update-ref", HEADS + work.branch, work.start)
        git.run("symbolic-ref", "HEAD", HEADS + work.branch)
    return git


def list_guest(git: Git, *, fds: tuple[int, int]) -> GuestRefs:
    """Ask the git server behind two pipes (to read from, to write to) for its refs.

    Raises:
        PermanentError: it says something that cannot be.
        CommandError: it does not answer as a git server.
    """
    done = _talking(git).run(
        "ls-remote", "--quiet", _address(fds), "HEAD", "refs/heads/*", WIP_REF,
        pass_fds=fds, timeout_s=_TAKE_TIMEOUT_S,
    )  # fmt: skip
    if len(done.stdout) > _MAX_LISTING_BYTES:
        raise PermanentError("the sandbox's repository has too many branches to bring over")
    heads: dict[str, str] = {}
    wip: str | None = None
    head: str | None = None
    for line in os.fsdecode(done.stdout).splitlines():
        value, _, name = line.partition("\t")
        if not _OBJECT.fullmatch(value):
            raise PermanentError("the sandbox's git says something that is not a ref")
        if name == WIP_REF:
            wip = value
        elif name == "HEAD":
            head = value
        elif name.startswith("refs/heads/"):
            heads[name.removeprefix("refs/heads/")] = value
    if len(heads) > _MAX_REFS:
        raise PermanentError("the sandbox's repository has too many branches to bring over")
    heads.pop("HEAD", None)  # under our names it would be in the way of the real one
    return GuestRefs(heads=heads, wip=wip, head=head)


def is_known(git: Git, refs: GuestRefs) -> bool:
    """Whether all of it was brought over already."""
    return known(git) == refs


def known(git: Git) -> GuestRefs:
    """What was brought over so far."""
    listed = git.text("for-each-ref", "--format=%(objectname) %(refname)", "refs/guest")
    values: dict[str, str] = {}
    for line in listed.splitlines():
        value, _, name = line.partition(" ")
        values[name] = value
    heads = {
        name.removeprefix(HEADS): value for name, value in values.items() if name.startswith(HEADS)
    }
    return GuestRefs(heads=heads, wip=values.get(WIP), head=values.get(HEAD))


def start_of(git: Git, work: GitWorkspace) -> str | None:
    """The commit that a sandbox started from; None where its clone is empty or not made yet."""
    return work.start or git.commit(START)


def begin(git: Git, work: GitWorkspace, refs: GuestRefs) -> Git:
    """Prepare for the first that comes from a clone of a URL: its object format is known now."""
    found = next(iter(refs.wanted_values()), None)
    if found is not None and len(found) == 64 and work.object_format == "sha1":
        shutil.rmtree(git.git_dir)
        return make_quarantine(git.git_dir, replace(work, object_format="sha256"))
    return git


def take(git: Git, refs: GuestRefs, *, fds: tuple[int, int], is_first: bool = False) -> None:
    """Bring objects over and let our refs follow; the first time without what was before.

    Raises:
        CommandError: an object is not as it must be, links are missing, or a bound was hit.
    """
    wanted = refs.wanted()
    gone = {*(HEADS + name for name in known(git).heads), WIP, HEAD} - set(wanted.values())
    # First what is gone: `a` may stand in the way of `a/b`.
    _delete(git, sorted(gone))
    lines = "".join(f"+{theirs}:{mine}\n" for theirs, mine in wanted.items())
    depth = ["--depth=1"] if is_first else []
    _talking(git).run(
        "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
        *depth, "--stdin", _address(fds),
        stdin=os.fsencode(lines), pass_fds=fds, timeout_s=_TAKE_TIMEOUT_S,
    )  # fmt: skip


def publish(git: Git, work: GitWorkspace, *, sandbox: str) -> None:
    """Bring what was checked into the user's repository, under `refs/sandboxes/<sandbox>/`."""
    target = Git(git_dir=work.common_dir)
    also = [f"+{HEAD}:{PUBLIC}{sandbox}/HEAD"] if work.mode is GitMode.CLONE else []
    target.run(
        "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
        "--prune", "--update-shallow", git.git_dir,
        f"+{HEADS}*:{PUBLIC}{sandbox}/*", *also,
    )  # fmt: skip


def unpublish(work: GitWorkspace, *, sandbox: str) -> None:
    """Remove `refs/sandboxes/<sandbox>/` from the user's repository."""
    git = Git(git_dir=work.common_dir)
    names = git.text("for-each-ref", "--format=%(refname)", f"{PUBLIC}{sandbox}/").splitlines()
    _delete(git, names)


def count_unmerged(work: GitWorkspace, *, sandbox: str, kept: str | None) -> int:
    """Commits of a sandbox that no branch or tag of the user has; `kept` is a branch that stays.

    In branch mode the sandbox's own branch is one of the user's, unless it is to be deleted.
    """
    git = Git(git_dir=work.common_dir)
    own = work.branch if work.mode is GitMode.BRANCH else None
    mine = [f"--glob={PUBLIC}{sandbox}/*"]
    excluded: list[str] = []
    if own is not None and kept is None:
        excluded = [f"--exclude={own}"]
        mine += [f"--glob=refs/heads/{own}"]
    text = git.text("rev-list", "--count", *mine, "--not", *excluded, "--branches", "--tags",
                    f"--exclude=sandbox-{sandbox}/*", "--remotes")  # fmt: skip
    return int(text)


def count_new(git: Git) -> int:
    """Commits of a sandbox's branches and of what is checked out since its start."""
    text = git.text("rev-list", "--count", f"--glob={HEADS}*", HEAD, "--not", START)
    return int(text)


def count_ahead(git: Git, head: str, *, start: str) -> int:
    """Commits in `head` that are not in `start`."""
    return int(git.text("rev-list", "--count", head, f"^{start}"))


def _delete(git: Git, names: Sequence[str]) -> None:
    lines = b"".join(b"delete " + os.fsencode(name) + b"\0\0" for name in names)
    if lines:
        git.run("update-ref", "--stdin", "-z", stdin=lines)


def _talking(git: Git) -> Git:
    return Git(git_dir=git.git_dir, transports=("fd",), is_bounded=True)


def _address(fds: tuple[int, int]) -> str:
    return f"fd::{fds[0]},{fds[1]}/sandbox"
