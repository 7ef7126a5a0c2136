# SPDX-License-Identifier: Apache-2.0
"""Branch mode: three sandboxes and the user on one repository, and guest root against the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from tests.kit.installation import Installation
from tests.kit.repositories import fingerprint, git, make_repository

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module", name="top")
def _top(shared: Installation) -> Path:
    """A repository with three sandboxes on three branches."""
    top = make_repository(shared.home / "my project")
    git(top, "config", "user.name", "Zoë")
    git(top, "config", "user.email", "zoe@example.org")
    for name in NAMES:
        shared.ok(
            "create", "--name", name, "-q", "--memory", "512m", "shell", str(top),
            "--branch", f"fix/{name}",
        )  # fmt: skip
    return top


def sh(shared: Installation, name: str, script: str, user: str = "agent") -> str:
    """The output of a script inside, which must succeed."""
    return shared.inside(name, "sh", "-c", script, user=user).ok().text


def facts(shared: Installation, name: str) -> dict[str, object]:
    """What `inspect` says of a sandbox's branch."""
    return cast("dict[str, object]", shared.inspect(name)["git"])


def stop(shared: Installation, name: str) -> None:
    """A stop brings everything over first."""
    shared.ok("stop", name)


@pytest.mark.timeout(400)
def test_three_sandboxes_and_the_user_on_one_repository(shared: Installation, top: Path) -> None:
    before = fingerprint(top)
    for name in NAMES:
        sh(
            shared, name,
            "set -e; git status --porcelain; git log --format=%s -1; echo $0 >mine; git add mine; "
            f"git commit -qm 'by {name}'; echo loose >loose",
        )  # fmt: skip
    assert fingerprint(top) == before
    (top / "file").write_text("by the user\n")
    git(top, "commit", "--quiet", "-am", "by the user")
    after = fingerprint(top)
    for name in NAMES:
        sh(shared, name, f"git commit -q --allow-empty -m 'again {name}'")
    for name in NAMES:
        stop(shared, name)
    for name in NAMES:
        subjects = git(top, "log", "--format=%s %an", f"fix/{name}").splitlines()
        assert subjects == [f"again {name} Zoë", f"by {name} Zoë", "first Ann"]
        found = facts(shared, name)
        assert (found["commits_ahead"], found["uncommitted_files"]) == (2, 1)
    assert git(top, "log", "--format=%s").splitlines() == ["by the user", "first"]
    assert fingerprint(top) == after
    assert git(top, "status", "--porcelain") == ""
    assert git(top, "fsck", "--strict") == ""
    rows = cast("list[dict[str, object]]", json.loads(shared.ok("ls", "--json").out))
    assert {cast("dict[str, object]", row["git"])["branch"] for row in rows} == {
        f"fix/{name}" for name in NAMES
    }
    assert "fix/two +2 ~1" in shared.ok("ls").text


@pytest.mark.timeout(240)
def test_a_commit_arrives_while_the_session_goes_on(shared: Installation, top: Path) -> None:
    script = "git commit -q --allow-empty -m awaited; git rev-parse HEAD; read -r _wait; echo over"
    sh(shared, "one", "true")
    session = shared.popen("exec", "one", "sh", "-c", script)
    assert session.stdin is not None
    assert session.stdout is not None
    made = session.stdout.readline().decode().strip()
    await_ref(top / ".git", "refs/heads/fix/one", made)
    out, _err = session.communicate(b"\n")
    assert out == b"over\n"
    assert facts(shared, "one")["head"] == made


def await_ref(git_dir: Path, name: str, value: str) -> None:
    """Wait until a ref has a value, told by the kernel; the test's time limit bounds it."""
    import asyncio

    from sbx.system.inotify import on_open

    async def wait() -> None:
        changed = asyncio.Event()
        with on_open(git_dir / name, changed.set):
            while git(git_dir, "rev-parse", name) != value:
                changed.clear()
                await changed.wait()

    asyncio.run(wait())


ATTACKS = {
    "gitfile": "rm -f .git; echo 'gitdir: /tmp/evil' >.git; mv .git moved; ln -sfn /tmp/evil .git",
    "host objects": "cd /run/sandbox/objects/0 && touch x; rm -rf pack info; echo x >info/alternates",
    "seed": "cd /run/sandbox/git && echo x >wake; rm -f setup; echo x >repository/config",
    "remount": "mount -o remount,rw,bind /run/sandbox/objects/0; touch /run/sandbox/objects/0/x; "
    "mount -t virtiofs share /mnt; for i in 1 2; do touch /mnt/$i/x; done; rm -f /mnt/0/.git",
    "main repository": "ls -la ../../../.git/config ../../../file; echo x >>../../../.git/config",
}  # fmt: skip


@pytest.mark.timeout(300)
def test_guest_root_against_the_host(shared: Installation, top: Path) -> None:
    kept = fingerprint(top)
    gitfile = (top / ".sbx" / "two-worktrees" / "fix" / "two" / ".git").read_bytes()
    objects = sorted(p.name for p in (top / ".git" / "objects").iterdir())
    for script in ATTACKS.values():
        shared.inside("two", "sh", "-c", f"({script}) 2>&1; true", user="root").ok()
    assert (top / ".sbx" / "two-worktrees" / "fix" / "two" / ".git").read_bytes() == gitfile
    assert fingerprint(top) == kept
    assert sorted(p.name for p in (top / ".git" / "objects").iterdir()) == objects
    assert not (top / ".git" / "objects" / "x").exists()


@pytest.mark.timeout(300)
def test_programs_named_inside_do_not_run_on_the_host(shared: Installation, top: Path) -> None:
    mark = top / ".sbx" / "two-worktrees" / "fix" / "two" / "RAN"
    sh(
        shared, "two",
        f"""set -e
        printf '#!/bin/sh\\necho "$(hostname)" >>"{mark}"\\n' >evil; chmod +x evil
        for key in core.fsmonitor core.hooksPath core.sshCommand filter.evil.clean \
            filter.evil.smudge diff.external uploadpack.packObjectsHook core.alternateRefsCommand
        do git config "$key" "$PWD/evil"; done
        git config core.hooksPath "$PWD/hooks"; mkdir -p hooks
        for hook in post-checkout reference-transaction post-index-change pre-receive update
        do cp evil hooks/$hook; done
        echo '* filter=evil diff=evil' >.gitattributes
        git -c core.fsmonitor=false init -q nested && git -C nested config core.fsmonitor "$PWD/evil"
        git -c core.fsmonitor=false -c filter.evil.clean=cat -c core.hooksPath=/dev/null add -A
        git -c core.fsmonitor=false -c core.hooksPath=/dev/null commit -qm 'evil inside'
        """,
    )  # fmt: skip
    stop(shared, "two")
    assert git(top, "log", "-1", "--format=%s", "fix/two") == "evil inside"
    ran = mark.read_text().split() if mark.exists() else []
    assert set(ran) <= {"two"}, "only in the sandbox itself"


@pytest.mark.timeout(300)
def test_objects_that_are_not_as_they_must_be_stay_out(shared: Installation, top: Path) -> None:
    before = git(top, "rev-parse", "fix/three")
    sh(
        shared, "three",
        """set -e
        blob=$(echo x | git hash-object -w --stdin)
        tree=$(printf '100644 .git\\0' | { cat; printf %s "$blob" | xxd -r -p 2>/dev/null ||
            python3 -c "import sys,os;os.write(1,bytes.fromhex('$blob'))"; } |
            git hash-object -w --literally -t tree --stdin)
        commit=$(git commit-tree "$tree" -p HEAD -m bad)
        git update-ref refs/heads/fix/three "$commit"
        """,
    )  # fmt: skip
    stop(shared, "three")
    assert git(top, "rev-parse", "fix/three") == before
    assert "not brought over" in str(facts(shared, "three")["problem"])
    assert git(top, "fsck", "--strict") == ""


@pytest.mark.timeout(240)
def test_removing_says_what_is_lost_and_keeps_the_branch(shared: Installation, top: Path) -> None:
    done = shared.ok("rm", "-f", "three")
    assert "uncommitted changes" in done.err.decode()
    assert not (top / ".sbx" / "three-worktrees").exists()
    assert git(top, "log", "-1", "--format=%s", "fix/three") == "again three"
    assert git(top, "for-each-ref", "refs/sandboxes/three") == ""
    assert len(git(top, "worktree", "list").splitlines()) == 3
    shared.ok("rm", "-f", "--delete-branch", "two")
    assert git(top, "branch", "--list", "fix/two") == ""
