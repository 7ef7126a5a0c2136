# SPDX-License-Identifier: Apache-2.0
"""What was brought over and checked becomes visible: refs, and in branch mode the branch.

The branch moves only from where the last time left it: one that the user moved on the host is left
alone, and the sandbox's commits stay under `refs/sandboxes/`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sbx.sandbox.git import GitMode, GitState, GitWorkspace
from sbx.workspace.git.branch import has_worktree, refresh_index
from sbx.workspace.git.door import Git
from sbx.workspace.git.quarantine import PUBLIC, count_ahead, known, publish, start_of


def settle(
    git: Git, work: GitWorkspace, *, sandbox: str, last: GitState | None, uncommitted: int
) -> GitState:
    """Make what was taken visible on the host; return what is known now.

    Raises:
        CommandError: git could not.
    """
    refs, start = known(git), start_of(git, work)
    # A clone is the sandbox's own: what is checked out there counts, whatever it is called.
    is_branch = work.mode is GitMode.BRANCH and work.branch is not None
    head = refs.heads.get(work.branch or "") if is_branch else refs.head
    state = GitState(
        at=datetime.now(UTC),
        head=head,
        ahead=count_ahead(git, head, start=start) if head and start else 0,
        uncommitted=uncommitted,
    )
    if work.url is None:
        publish(git, work, sandbox=sandbox)
    if work.mode is GitMode.BRANCH and head is not None:
        problem = _move_branch(work, sandbox, head, before=last.head if last else None)
        return replace(state, problem=problem)
    return state


def _move_branch(work: GitWorkspace, sandbox: str, head: str, *, before: str | None) -> str | None:
    """Move the branch to `head`; what kept it, if something did."""
    git = Git(git_dir=work.common_dir)
    name = f"refs/heads/{work.branch}"
    now = git.commit(name)
    if now == head:
        return None
    if now is None:
        why = f"branch `{work.branch}` was deleted on the host"
    elif now not in (before, work.start):
        why = f"branch `{work.branch}` was moved on the host"
    elif git.succeeds(
        "update-ref", "--create-reflog", "-m", f"sbx: from sandbox {sandbox}", name, head, now
    ):
        if has_worktree(work):
            refresh_index(work)
        return None
    else:
        why = f"branch `{work.branch}` could not be moved"
    return f"{why}; the sandbox's commits are in `{PUBLIC}{sandbox}/{work.branch}`"
