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
EVIL = "evil"  # where guest root attacks


@pytest.fixture(scope="module", name="top")
def _top(shared: Installation) -> Path:
    """A repository with three sandboxes on three branches."""
    top = make_repository(shared.home / "my project")
    git(top, "config", "user.name", "Zoë")
    git(top, "config", "user.email", "zoe@example.org")
    for name in (*NAMES, EVIL):
        create(shared, top, name)
    return top


def create(shared: Installation, top: Path, name: str) -> None:
    """A sandbox on a branch of its own."""
    shared.ok(
        "create", "--name", name, "-q", "--memory", "512m", "shell", str(top),
        "--branch", f"fix/{name}",
    )  # fmt: skip


def sh(shared: Installation, name: str, script: str, user: str = "agent") -> str:
    """The output of a script inside, which must succeed."""
    return shared.inside(name, "sh", "-c", script, user=user).ok().text


def facts(shared: Installation, name: str) -> dict[str, object]:
    """What `inspect` says of a sandbox's branch."""
    return cast("dict[str, object]", shared.inspect(name)["git"])


@pytest.mark.timeout(400)
def test_three_sandboxes_and_the_user_on_one_repository(shared: Installation, top: Path) -> None:
    before = fingerprint(top)
    history = {name: git(top, "log", "--format=%s", f"fix/{name}") for name in NAMES}
    for name in NAMES:
        script = f"set -e; echo x >mine; git add mine; git commit -qm 'by {name}'; echo x >loose"
        sh(shared, name, script)
    assert fingerprint(top) == before
    (top / "file").write_text("by the user\n")
    git(top, "commit", "--quiet", "-am", "by the user")
    after = fingerprint(top)
    for name in NAMES:
        sh(shared, name, f"git commit -q --allow-empty -m 'again {name}'")
    for name in NAMES:
        shared.ok("stop", name)  # brings everything over first
        made = git(top, "log", "--format=%s", f"fix/{name}")
        assert made == f"again {name}\nby {name}\n{history[name]}"
        assert git(top, "log", "-1", "--format=%an %ae", f"fix/{name}") == "Zoë zoe@example.org"
        found = facts(shared, name)
        ahead = len(made.splitlines()) - 1
        assert (found["commits_ahead"], found["uncommitted_files"]) == (ahead, 1)
    assert git(top, "log", "--format=%s").splitlines() == ["by the user", "first"]
    assert fingerprint(top) == after
    assert git(top, "status", "--porcelain") == ""
    assert git(top, "fsck", "--strict", "--no-dangling") == ""
    rows = cast("list[dict[str, object]]", json.loads(shared.ok("ls", "--json").out))
    branches = {cast("dict[str, object]", row["git"])["branch"] for row in rows}
    assert branches >= {f"fix/{name}" for name in NAMES}
    assert "fix/two +2 ~1" in shared.ok("ls").text


@pytest.mark.timeout(240)
def test_a_commit_arrives_while_the_session_goes_on(shared: Installation, top: Path) -> None:
    script = (
        "git commit -q --allow-empty -m awaited; git rev-parse HEAD; read -r _wait; echo x >fresh; "
        # as husky does: the project's own hooks in the place of ours
        "git config core.hooksPath .husky; git commit -q --allow-empty -m 'its own hooks'; "
        "git rev-parse HEAD; read -r _wait; git config --unset core.hooksPath; echo over"
    )
    sh(shared, "one", "true")
    session = shared.popen("exec", "one", "sh", "-c", script)
    assert session.stdin is not None
    assert session.stdout is not None
    made = session.stdout.readline().decode().strip()
    await_ref(top / ".git", "refs/heads/fix/one", made)
    session.stdin.write(b"\n")
    session.stdin.flush()
    made = session.stdout.readline().decode().strip()
    await_ref(top / ".git", "refs/heads/fix/one", made)
    during = facts(shared, "one")
    assert during["head"] == made
    files = git(top, "ls-tree", "-r", "--name-only", made).splitlines()
    assert "fresh" not in files
    assert cast("int", during["uncommitted_files"]) >= 1, "told while the session goes on"
    out, _err = session.communicate(b"\n")
    assert out == b"over\n"


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


ATTACKS = (
    "rm -f .git; echo 'gitdir: /tmp/evil' >.git; mv .git moved; ln -sfn /tmp/evil .git",
    "cd /run/sandbox/objects/0 && touch x; rm -rf pack info; echo x >info/alternates",
    "cd /run/sandbox/git && echo x >wake; rm -f setup; echo x >repository/config",
    "mount -o remount,rw,bind /run/sandbox/objects/0; touch /run/sandbox/objects/0/x",
    "mount -t virtiofs share /mnt; for i in 1 2; do touch /mnt/$i/x; done; rm -f /mnt/0/.git",
    "umount .git; umount -l .git; rm -f .git; echo 'gitdir: /tmp/evil' >.git",
    "cat ../../../.git/config; echo x >>../../../.git/config; echo x >../../../file",
)


@pytest.mark.timeout(300)
def test_guest_root_against_the_host(shared: Installation, top: Path) -> None:
    kept = fingerprint(top)
    gitfile = top / ".sbx" / "evil-worktrees" / "fix" / "evil" / ".git"
    pointer = gitfile.read_bytes()
    objects = sorted(p.name for p in (top / ".git" / "objects").iterdir())
    for script in ATTACKS:
        shared.inside(EVIL, "sh", "-c", f"({script}) 2>&1; true", user="root").ok()
    assert gitfile.read_bytes() == pointer
    assert fingerprint(top) == kept
    assert sorted(p.name for p in (top / ".git" / "objects").iterdir()) == objects
    shared.ok("stop", EVIL)  # what is mounted over inside is gone with it


@pytest.mark.timeout(300)
def test_programs_named_inside_do_not_run_on_the_host(shared: Installation, top: Path) -> None:
    mark = top / ".sbx" / "evil-worktrees" / "fix" / "evil" / "RAN"
    sh(
        shared, EVIL,
        f"""set -e
        printf '#!/bin/sh\\necho "$(hostname)" >>"{mark}"\\n' >evil; chmod +x evil
        for key in core.fsmonitor core.hooksPath core.sshCommand filter.evil.clean \
            filter.evil.smudge diff.external uploadpack.packObjectsHook core.alternateRefsCommand
        do git config "$key" "$PWD/evil"; done
        git config core.hooksPath "$PWD/hooks"; mkdir -p hooks
        for hook in post-checkout reference-transaction post-index-change pre-receive update
        do cp evil hooks/$hook; done
        echo '* filter=evil diff=evil' >.gitattributes
        quiet="git -c core.fsmonitor=false -c filter.evil.clean=cat -c core.hooksPath=/dev/null"
        $quiet init -q nested; git -C nested config core.fsmonitor "$PWD/evil"
        $quiet -C nested -c user.name=n -c user.email=n commit -q --allow-empty -m nested
        $quiet add -A
        $quiet commit -qm 'evil inside'
        """,
    )  # fmt: skip
    shared.ok("stop", EVIL)
    assert git(top, "log", "-1", "--format=%s", "fix/evil") == "evil inside", facts(shared, EVIL)
    ran = mark.read_text().split() if mark.exists() else []
    assert set(ran) <= {EVIL}, "only in the sandbox itself"


@pytest.mark.timeout(300)
def test_objects_that_are_not_as_they_must_be_stay_out(shared: Installation, top: Path) -> None:
    before = git(top, "rev-parse", "fix/evil")
    sh(
        shared, EVIL,
        """set -e
        git update-ref refs/kept HEAD
        blob=$(echo x | git hash-object -w --stdin)
        entry="import sys; sys.stdout.buffer.write(b'100644 .git' + bytes(1)"
        entry="$entry + bytes.fromhex('$blob'))"
        tree=$(python3 -c "$entry" | git hash-object -w --literally -t tree --stdin)
        commit=$(git commit-tree "$tree" -p HEAD -m bad)
        git update-ref refs/heads/fix/evil "$commit"
        """,
    )  # fmt: skip
    shared.ok("stop", EVIL)
    assert git(top, "rev-parse", "fix/evil") == before
    assert "not brought over" in str(facts(shared, EVIL)["problem"])
    assert git(top, "fsck", "--strict", "--no-dangling") == ""
    sh(shared, EVIL, "git update-ref refs/heads/fix/evil refs/kept")


@pytest.mark.timeout(240)
def test_removing_says_what_is_lost_and_keeps_the_branch(shared: Installation, top: Path) -> None:
    create(shared, top, "gone")
    sh(shared, "gone", "git commit -q --allow-empty -m kept; echo x >loose")
    done = shared.ok("rm", "-f", "gone")
    assert "1 files in sandbox gone have uncommitted changes" in done.err.decode()
    assert not (top / ".sbx" / "gone-worktrees").exists()
    assert git(top, "log", "-1", "--format=%s", "fix/gone") == "kept"
    assert git(top, "for-each-ref", "refs/sandboxes/gone") == ""
    create(shared, top, "gone")  # on the branch that is there already
    assert sh(shared, "gone", "git log -1 --format=%s") == "kept\n"
    done = shared.ok("rm", "-f", "--delete-branch", "gone")
    assert "1 commits of sandbox gone are on no other branch" in done.err.decode()
    assert git(top, "branch", "--list", "fix/gone") == ""
    assert "fix/gone" not in git(top, "worktree", "list")


@pytest.mark.timeout(240)
def test_the_way_back(shared: Installation) -> None:
    top = make_repository(shared.home / "back")
    git(top, "config", "user.name", "Zoë")
    git(top, "config", "user.email", "zoe@example.org")
    create(shared, top, "back")
    sh(shared, "back", "printf 'all:\\n' >Makefile; git add .; git commit -qm build; echo x >loose")
    done = shared.ok("diff", "back")
    assert "+all:" in done.text
    assert "loose" in done.text, "what is not committed is shown, while the sandbox runs"
    assert "a build file" in done.err.decode()
    shared.ok("stop", "back")
    assert shared.ok("merge", "back").text == "✓ Work of sandbox back merged into main\n"
    assert git(top, "log", "--format=%s").splitlines() == ["build", "first"]
    shared.ok("apply", "back")
    assert git(top, "status", "--porcelain") == "A  loose"
    report = cast("dict[str, object]", json.loads(shared.ok("merge", "--json", "back").out))
    assert (report["action"], report["branch"]) == ("unchanged", "main")
    done = shared.call("run", "--name", "back", "-q", "--", "-c", "exit 7")
    assert done.returncode == 7
    document = cast("dict[str, object]", json.loads(shared.ok("diff", "--json", "back").out))
    assert document["review"] == [{"path": "Makefile", "reason": "a build file"}]
