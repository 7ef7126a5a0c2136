# SPDX-License-Identifier: Apache-2.0
"""Clone mode in the user's repository: a remote `sandbox-<name>` that can be fetched from.

It is the quarantine, a repository of ours on this host, so it needs no port, and it answers while
the sandbox is stopped, too. Nothing can be pushed to it.
"""

from __future__ import annotations

import os
from pathlib import Path

from sbx.errors import ConflictError
from sbx.sandbox.git import GitMode, GitWorkspace
from sbx.workspace.git.door import Git
from sbx.workspace.git.quarantine import HEADS
from sbx.workspace.git.repository import Repository

_REFUSAL = """#!/bin/sh
echo 'nothing can be pushed into a sandbox this way; run: sbx push NAME' >&2
exit 1
"""


def plan_clone(repository: Repository) -> GitWorkspace:
    """What clone mode will be for this repository. Makes nothing."""
    assert repository.start is not None  # find_repository has checked it
    return GitWorkspace(
        mode=GitMode.CLONE,
        repository=repository.top,
        git_dir=repository.git_dir,
        common_dir=repository.common_dir,
        object_dirs=repository.object_dirs(),
        object_format=repository.object_format,
        start=repository.start,
        branch=repository.branch,
        base=repository.branch,
        worktree=repository.top,
    )


def remote_name(sandbox: str) -> str:
    """The name of the remote."""
    return f"sandbox-{sandbox}"


def add_remote(work: GitWorkspace, quarantine: Path, *, sandbox: str) -> None:
    """Add the remote.

    Raises:
        ConflictError: there is one of that name, and it is not ours.
    """
    git, name = Git(git_dir=work.common_dir), remote_name(sandbox)
    done = git.run("config", "--get", f"remote.{name}.url", check=False)
    if done.returncode == 0 and os.fsdecode(done.stdout).rstrip("\n") != str(quarantine):
        raise ConflictError(
            f"`{work.repository}` has a remote `{name}` already",
            hint=f"Run: git remote remove {name}",
        )
    remove_remote(work, sandbox=sandbox)
    hook = quarantine / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_REFUSAL)
    hook.chmod(0o755)
    git.run("config", f"remote.{name}.url", quarantine)
    git.run("config", f"remote.{name}.fetch", f"+{HEADS}*:refs/remotes/{name}/*")
    git.run("config", f"remote.{name}.tagOpt", "--no-tags")


def remove_remote(work: GitWorkspace, *, sandbox: str) -> None:
    """Remove the remote and what was fetched from it."""
    git, name = Git(git_dir=work.common_dir), remote_name(sandbox)
    git.run("config", "--remove-section", f"remote.{name}", check=False)
    refs = git.text("for-each-ref", "--format=%(refname)", f"refs/remotes/{name}/")
    for ref in refs.splitlines():
        git.run("update-ref", "-d", ref)
