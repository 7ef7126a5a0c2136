# SPDX-License-Identifier: Apache-2.0
"""Real repositories for tests, and a guest's side that is git itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sbx.sandbox.git import GitState, GitWorkspace
from sbx.workspace.git import branch, quarantine, remote, seed
from sbx.workspace.git.door import Git
from sbx.workspace.git.repository import find_repository
from sbx.workspace.git.settle import settle

T = TypeVar("T")
_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


def git(folder: Path, *args: str | Path, check: bool = True, **env: str) -> str:
    """Plain git, as a person runs it, in a folder."""
    done = subprocess.run(
        ["git", *(str(arg) for arg in args)],
        cwd=folder, env={**_ENV, **env}, capture_output=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr.decode(errors="replace")
    return os.fsdecode(done.stdout).rstrip("\n")


def make_repository(folder: Path, *options: str) -> Path:
    """A repository with two files and one commit on `main`."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main", *options)
    (folder / "file").write_text("one\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "other").write_text("two\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def fingerprint(top: Path) -> dict[str, str]:
    """What must not change: files of the working tree, index, HEAD, configuration, the branch."""
    kept = {"index", "HEAD", "config", "refs/heads/main", "packed-refs"}
    found: dict[str, str] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if name.startswith(".sbx") or not path.is_file() or path.is_symlink():
            continue
        inside = name.removeprefix(".git/")
        if inside == name or inside in kept or inside.startswith("hooks/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@dataclass(slots=True)
class Guest:
    """A sandbox's own repository and worktree, and the host's repository for what comes over."""

    work: GitWorkspace
    git_dir: Path
    ours: Git
    state: GitState | None = None

    def git(self, *args: str | Path, check: bool = True, **env: str) -> str:
        """Git inside."""
        places = {"GIT_DIR": str(self.git_dir), "GIT_WORK_TREE": str(self.work.worktree)}
        return git(self.work.worktree, *args, check=check, **{**places, **env})

    def commit(self, name: str, text: str) -> str:
        """Write a file and commit everything; the commit's id."""
        path = self.work.worktree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", f"change {name}")
        return self.git("rev-parse", "HEAD")

    def save_uncommitted(self) -> int:
        """What the supervisor lets the guest do with files that no commit has."""
        script = seed.script_text("wip")
        done = subprocess.run(
            ["sh", "-c", script, "wip", self.git_dir, self.work.worktree],
            env=_ENV, capture_output=True, check=True,
        )  # fmt: skip
        return int(done.stdout)

    def converse(self, talk: Callable[[tuple[int, int]], T]) -> T:
        """Let the host talk with this guest's git server."""
        from_guest, to_host = os.pipe()
        from_host, to_guest = os.pipe()
        server = subprocess.Popen(
            ["git", "upload-pack", "--strict", str(self.git_dir)],
            stdin=from_host, stdout=to_host, stderr=subprocess.DEVNULL, env=_ENV,
        )  # fmt: skip
        os.close(from_host)
        os.close(to_host)
        try:
            return talk((from_guest, to_guest))
        finally:
            os.close(from_guest)
            os.close(to_guest)
            server.wait()

    def bring_over(self, uncommitted: int = 0) -> GitState:
        """One round as the supervisor has it."""
        refs = self.converse(lambda fds: quarantine.list_guest(self.ours, fds=fds))
        if not quarantine.is_known(self.ours, refs):
            self.converse(lambda fds: quarantine.take(self.ours, refs, fds=fds))
        self.state = settle(
            self.ours, self.work, sandbox="box", last=self.state, uncommitted=uncommitted
        )
        return self.state


def make_guest(top: Path, base: Path, wanted: str = "fix", sandbox: str = "box") -> Guest:
    """Branch mode on `top`, as far as the host makes it, and the guest's side of it."""
    repository = find_repository(top, flag="--branch")
    name = branch.choose_branch(repository, wanted, sandbox=sandbox)
    work = branch.plan_branch(repository, name, sandbox=sandbox)
    branch.make_worktree(work)
    folder = base / sandbox
    seed.write_seed(work, folder / "seed", index=branch.index_of(work), identity=None)
    ours = quarantine.make_quarantine(folder / "ours.git", work)
    inside = folder / "inside"
    shutil.copytree(folder / "seed" / "repository", inside)
    borrowed = "\n".join(str(path) for path in work.object_dirs) + "\n"
    (inside / "objects/info/alternates").write_text(borrowed)
    return Guest(work=work, git_dir=inside, ours=ours)


def make_clone(top: Path, base: Path, sandbox: str = "box") -> Guest:
    """Clone mode on `top`, and the guest's side of it: its own files too."""
    work = remote.plan_clone(find_repository(top, flag="--clone"))
    folder = base / sandbox
    seed.write_seed(work, folder / "seed", index=None, identity=None)
    ours = quarantine.make_quarantine(folder / "ours.git", work)
    files = folder / "clone"
    files.mkdir()
    inside = files / ".git"
    shutil.copytree(folder / "seed" / "repository", inside)
    borrowed = "\n".join(str(path) for path in work.object_dirs) + "\n"
    (inside / "objects/info/alternates").write_text(borrowed)
    guest = Guest(work=replace(work, worktree=files), git_dir=inside, ours=ours)
    guest.git("checkout-index", "--all", "--index", "--force", "--quiet")
    return guest
