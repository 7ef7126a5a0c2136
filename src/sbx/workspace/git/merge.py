# SPDX-License-Identifier: Apache-2.0
"""A sandbox's commits into the user's branch: merged among objects, then checked out in one step.

The merge is made in the quarantine, whose configuration is ours, so no driver or filter takes part;
the user's files are only touched when it is clean, and never where they have changes of their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from sbx.errors import ConflictError, UserError
from sbx.sandbox.git import GitWorkspace
from sbx.system.process import CommandError
from sbx.workspace.git.door import Git
from sbx.workspace.git.repository import identity, neutral_drivers

_RESULT = "refs/sbx/result"
_MAX_SUBJECTS = 200
_MAX_SHOWN = 20
_UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


class How(StrEnum):
    """How the work comes in."""

    MERGE = "merge"  # a merge commit, or the branch moves forward
    SQUASH = "squash"  # one commit
    APPLY = "apply"  # staged changes, no commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What was done; `commit` is None where nothing was to do."""

    commit: str | None
    branch: str | None  # of the user, that it came into
    fast_forward: bool = False


def bring_in(git: Git, work: GitWorkspace, tip: str, *, sandbox: str, how: How) -> Merged:
    """Bring `tip` (a commit of the quarantine) into what is checked out in the user's folder.

    Raises:
        ConflictError: it does not merge cleanly, or the user's changes are in the way.
        UserError: the user's repository is in the middle of something.
    """
    user = _users_git(work)
    head = user.commit("HEAD")
    if head is None:
        raise UserError(f"`{work.repository}` has no commit to merge into")
    branch = os.fsdecode(user.run("symbolic-ref", "--quiet", "--short", "HEAD", check=False).stdout)
    branch = branch.strip()
    if how is not How.APPLY and git.succeeds("merge-base", "--is-ancestor", tip, head):
        return Merged(commit=None, branch=branch or None)
    is_forward = how is How.MERGE and git.succeeds("merge-base", "--is-ancestor", head, tip)
    made = tip if is_forward else _commit(git, work, (head, tip), sandbox=sandbox, how=how)
    if how is How.APPLY and git.text("rev-parse", f"{made}^{{tree}}") == git.text(
        "rev-parse", f"{head}^{{tree}}"
    ):
        return Merged(commit=None, branch=branch or None)
    _fetch(git, user, made)
    _check_out(user, work, head, made)
    if how is not How.APPLY:
        user.run("update-ref", "-m", f"sbx {how.value} {sandbox}", "HEAD", made, head)
    return Merged(commit=made, branch=branch or None, fast_forward=is_forward)


def _users_git(work: GitWorkspace) -> Git:
    for name in _UNDER_WAY:
        if (work.git_dir / name).exists():
            raise UserError(
                f"`{work.repository}` is in the middle of a merge, rebase or the like",
                hint="Finish it first, see: git status",
            )
    return Git(
        git_dir=work.git_dir, work_tree=work.repository, config=neutral_drivers(work.common_dir)
    )


def _commit(git: Git, work: GitWorkspace, sides: tuple[str, str], *, sandbox: str, how: How) -> str:
    """The merge of both sides as a commit of the quarantine."""
    head, tip = sides
    done = git.run("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", head, tip,
                   check=False)  # fmt: skip
    tree, *paths = os.fsdecode(done.stdout).split("\0")
    if done.returncode == 1:
        raise _conflict([path for path in paths if path], work, sandbox)
    if done.returncode != 0:
        raise CommandError(["git", "merge-tree"], done.returncode, os.fsdecode(done.stderr))
    name, email = identity(work.common_dir) or ("sbx", "sbx@localhost")
    env: dict[str, str] = {}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": email}
    parents = ["-p", head, *(["-p", tip] if how is How.MERGE else [])]
    message = _message(git, work, sides, sandbox=sandbox, how=how)
    writer = Git(git_dir=git.git_dir, env=env)
    return writer.text("commit-tree", tree, *parents, "-F", "-", stdin=os.fsencode(message))


def _message(
    git: Git, work: GitWorkspace, sides: tuple[str, str], *, sandbox: str, how: How
) -> str:
    what = f"`{work.branch}`" if work.branch is not None else "work"
    if how is How.MERGE:
        return f"Merge {what} of sandbox {sandbox}\n"
    head, tip = sides
    subjects = git.text("log", "--reverse", "--format=* %s", f"--max-count={_MAX_SUBJECTS}",
                        tip, f"^{head}")  # fmt: skip
    return f"Squash {what} of sandbox {sandbox}\n\n{subjects}\n"


def _conflict(paths: list[str], work: GitWorkspace, sandbox: str) -> ConflictError:
    shown = [ascii(path)[1:-1] for path in paths[:_MAX_SHOWN]]
    if len(paths) > len(shown):
        shown.append(f"… and {len(paths) - len(shown)} more")
    ref = f"refs/sandboxes/{sandbox}/{work.branch or 'HEAD'}"
    return ConflictError(
        f"the work of sandbox `{sandbox}` does not merge cleanly: {', '.join(shown)}",
        hint=f"Nothing was changed. To resolve it by hand, run: git merge {ref}",
    )


def _fetch(git: Git, user: Git, commit: str) -> None:
    git.run("update-ref", _RESULT, commit)
    user.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
             "--update-shallow", git.git_dir, _RESULT)  # fmt: skip


def _check_out(user: Git, work: GitWorkspace, head: str, made: str) -> None:
    """Move index and files from one commit to the other, or change nothing."""
    user.run("update-index", "-q", "--refresh", check=False)  # files with changes: told below
    done = user.run("read-tree", "-m", "-u", head, made, check=False)
    if done.returncode != 0:
        raise ConflictError(
            f"changes in `{work.repository}` are in the way",
            hint="Commit or stash them first; nothing was changed",
            details=os.fsdecode(done.stderr).strip(),
        )
