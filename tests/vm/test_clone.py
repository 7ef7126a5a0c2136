# SPDX-License-Identifier: Apache-2.0
"""Clone mode: a clone on the sandbox's own disk, a remote to fetch from, and a way to push in."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from tests.kit.installation import Installation
from tests.kit.repositories import fingerprint, git, make_repository

NAME = "clone"
REMOTE = f"sandbox-{NAME}"


@pytest.fixture(name="top", scope="module")
def _top(shared: Installation) -> Path:
    """A repository with a sandbox that has a clone of it."""
    top = make_repository(shared.home / "pro ject")
    git(top, "config", "user.name", "Zoë")
    git(top, "config", "user.email", "zoe@example.org")
    git(top, "remote", "add", "origin", "https://user:secret@forge.example/x/y.git")
    git(top, "remote", "add", "local", str(shared.home))
    (top / "ignored").write_text("of the host only\n")
    (top / "key.env").write_text("the key\n")
    git(top, "add", "key.env")
    git(top, "commit", "--quiet", "-m", "a key")
    shared.ok(
        "create", "--name", NAME, "-q", "--memory", "512m", "shell", str(top / "sub"), "--clone",
        "--mask", "*.env",
    )  # fmt: skip
    return top


def sh(shared: Installation, script: str) -> str:
    """The output of a script inside, which must succeed."""
    return shared.inside(NAME, "sh", "-c", script).ok().text


def test_the_clone_is_at_the_same_path_and_shares_no_file(shared: Installation, top: Path) -> None:
    assert sh(shared, "pwd; cat other") == f"{top}/sub\ntwo\n"
    found = sh(shared, "cd ..; ls -A; git status --porcelain; git log --format=%s main")
    assert found.splitlines() == [".git", "file", "sub", "a key", "first"]
    assert sh(shared, "mount | grep virtiofs | grep -c ' rw,' || true").strip() == "0"
    sh(shared, "cd ..; echo changed >file; rm -rf sub; git checkout -q sub file")
    assert (top / "file").read_text() == "one\n"


def test_remotes_of_a_forge_are_there_without_their_password(
    shared: Installation, top: Path
) -> None:
    del top
    listed = sh(shared, "git remote -v").splitlines()
    assert {line.split()[1] for line in listed} == {"https://forge.example/x/y.git"}


@pytest.mark.timeout(240)
def test_commits_come_back_through_the_remote_and_branches_go_in(
    shared: Installation, top: Path
) -> None:
    before = fingerprint(top)
    assert ".git/config" in before
    sh(shared, "git checkout -q -b topic; git commit -q --allow-empty -m 'by the agent'")
    shared.ok("stop", NAME)
    git(top, "fetch", "--quiet", REMOTE)
    assert git(top, "log", "-1", "--format=%s %an", f"{REMOTE}/topic") == "by the agent Zoë"
    assert git(top, "rev-parse", f"refs/sandboxes/{NAME}/topic") == git(
        top, "rev-parse", f"{REMOTE}/topic"
    )
    assert fingerprint(top) == before
    assert git(top, "push", REMOTE, "main:main", check=False) == ""
    assert git(top, "ls-remote", REMOTE, "refs/heads/main") == "", "nothing can be pushed"
    git(top, "commit", "--quiet", "--allow-empty", "-m", "by the user")
    assert "1 branches" in shared.ok("push", NAME).text
    assert sh(shared, "git log -1 --format=%s host/main") == "by the user\n"
    found = cast("dict[str, object]", shared.inspect(NAME)["git"])
    assert (found["mode"], found["branch"]) == ("clone", "main")
    assert str(top) in shared.ok("ls").text


@pytest.mark.timeout(240)
def test_removing_says_what_is_lost_and_takes_the_remote_away(
    shared: Installation, top: Path
) -> None:
    shared.ok("create", "--name", "gone", "-q", "--memory", "512m", "shell", str(top), "--clone")
    shared.inside("gone", "git", "commit", "-q", "--allow-empty", "-m", "lost").ok()
    done = shared.ok("rm", "-f", "gone")
    assert "1 commits of sandbox gone are on no other branch" in done.err.decode()
    assert "sandbox-gone" not in git(top, "remote")
    assert git(top, "for-each-ref", "refs/sandboxes/gone", "refs/remotes/sandbox-gone") == ""
