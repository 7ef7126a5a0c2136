# SPDX-License-Identifier: Apache-2.0
"""Git's own files and masks in shared folders, against root inside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.kit.installation import Installation
from tests.kit.repositories import git, make_repository

NAME = "direct"


@pytest.fixture(name="top", scope="module")
def _top(shared: Installation) -> Path:
    """A repository that is shared directly, with masks and a private folder."""
    top = make_repository(shared.home / "project")
    (top / "secret.env").write_text("the key\n")
    (top / "sub" / "key.pem").write_text("the key\n")
    (top / "vault").mkdir()
    (top / "vault" / "gold").write_text("the key\n")
    (top / ".sbxignore").write_text("*.env\nvault/\n")
    (top / "node_modules").mkdir()
    (top / "node_modules" / "of-the-host").write_text("x")
    (top / ".git" / "hooks" / "pre-commit.sample").unlink(missing_ok=True)
    shared.ok(
        "create", "--name", NAME, "-q", "--memory", "512m", "shell", str(top),
        "--mask", "*.pem", "--private", "node_modules",
    )  # fmt: skip
    return top


def sh(shared: Installation, script: str, name: str = NAME, user: str = "agent") -> str:
    """The output of a script inside, which must succeed."""
    return shared.inside(name, "sh", "-c", script, user=user).ok().text


def test_git_works_and_its_own_files_cannot_be_written(shared: Installation, top: Path) -> None:
    sh(shared, "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m inside")
    assert git(top, "log", "-1", "--format=%s") == "inside"
    config = (top / ".git" / "config").read_bytes()
    attacks = (
        "git config core.fsmonitor /tmp/evil; echo x >>.git/config; rm -f .git/config; "
        "mv .git/config .git/c2; ln -f /tmp/x .git/config; echo x >.git/hooks/post-checkout; "
        "rm -rf .git/hooks; mv .git/hooks .git/h2; mv .git moved; "
        "echo x >.git/config.worktree; echo '* filter=x' >.git/info/attributes; "
        "echo /etc >.git/objects/info/alternates; rm -f .git/objects/info/alternates"
    )
    script = (
        f"({attacks}; umount .git/config .git/hooks; umount -l .git; {attacks}; "
        "mkdir -p /mnt/s; mount -t virtiofs share /mnt/s && cd /mnt/s/0 && { " + attacks + "; }"
        ") >/dev/null 2>&1; true"
    )
    sh(shared, script, user="root")
    assert (top / ".git" / "config").read_bytes() == config
    hooks = [p.name for p in (top / ".git" / "hooks").iterdir() if p.suffix != ".sample"]
    assert hooks == []
    for name in ("config.worktree", "info/attributes", "objects/info/alternates"):
        assert (top / ".git" / name).read_bytes() == b""
    assert git(top, "status", "--porcelain", "-uno") == ""
    assert git(top, "config", "--get", "core.fsmonitor", check=False) == ""


def test_an_index_that_the_host_wrote_is_believed_inside(shared: Installation, top: Path) -> None:
    """Owner and change time differ inside: git would read each file of a large tree again.

    Whether it reads one is seen by a change that neither size nor time tell.
    """
    file, long_ago = top / "sub" / "other", 1_000_000_000
    os.utime(file, (long_ago, long_ago))
    git(top, "status")  # refreshes the index, with what the host sees
    file.write_text("owt\n")
    os.utime(file, (long_ago, long_ago))
    assert sh(shared, "git status --porcelain -uno sub/other") == ""
    file.write_text("two\n")
    git(top, "status")


def test_what_did_not_exist_and_what_the_host_replaced_is_guarded_too(
    shared: Installation, top: Path
) -> None:
    """Git replaces its configuration by a rename, which takes any mount over it away."""
    sh(shared, "cat .git/config")
    git(top, "config", "sbx.replaced", "yes")
    nested = make_repository(top / "sub" / "vendor" / "nested")  # by the user, while it runs
    before = {path: path.read_bytes() for path in (top / ".git/config", nested / ".git/config")}
    attacks = (
        "echo x >>.git/config; : >.git/config; rm -f .git/config; mv .git/config c",
        "ln .git/config c; echo x >>c; truncate -s 0 .git/config; sed -i s/a/b/ .git/config",
        "cp /etc/passwd c; mv c .git/config; echo ../sub >.git/commondir; mv c .git/commondir",
        "mkdir -p evil/hooks; mv evil .git/modules; ln -s ../evil .git/modules; ln -s evil .git/x",
        "cd sub/vendor/nested; echo x >>.git/config; echo x >.git/hooks/post-checkout; mv .git m",
        "git init evil; git init --bare bare; mkdir evil/.git; echo 'gitdir: x' >evil/.git",
        "git init /tmp/made; cp -r /tmp/made copied; cp -r /tmp/made/.git bare",
        "git worktree add ../w; git worktree add w; git clone . c; mkdir .sbx",
    )
    whole = "; ".join(f"({script})" for script in attacks)
    again = f"mkdir -p /mnt/n; mount -t virtiofs share /mnt/n && cd /mnt/n/0 && {{ {whole}; }}"
    sh(shared, f"( {whole}; umount -l .git; {whole}; {again} ) >/dev/null 2>&1; true", user="root")
    assert {path: path.read_bytes() for path in before} == before
    for name in ("commondir", "modules", "x", "worktrees"):
        assert not (top / ".git" / name).is_symlink()
        found = list((top / ".git" / name).rglob("*"))
        assert [path for path in found if path.is_file() or path.name == "hooks"] == []
    assert not (top / ".git" / "commondir").exists()
    assert not (nested / ".git" / "hooks" / "post-checkout").exists()
    made = {path.relative_to(top) for path in top.rglob(".git")}
    assert made == {Path(".git"), Path("sub/vendor/nested/.git")}
    heads = [path.parent for path in top.rglob("HEAD") if (path.parent / "refs").exists()]
    assert {path.name for path in heads if (path / "objects").exists()} == {".git"}
    sh(shared, "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m 'goes on'")
    assert git(top, "log", "-1", "--format=%s") == "goes on"
    shutil.rmtree(nested)
    sh(shared, "rm -rf evil bare copied c w", user="root")


def test_masked_files_are_empty_and_root_cannot_change_that(
    shared: Installation, top: Path
) -> None:
    attempts = (
        "cat secret.env sub/key.pem vault/gold; ls vault; echo x >secret.env; echo x >vault/new; "
        "rm -f secret.env sub/key.pem; mv vault v2; mv sub s2; echo >.sbxignore; rm -f .sbxignore"
    )
    script = (
        f"{{ {attempts}; umount secret.env vault sub/key.pem; {attempts}; "
        "mkdir -p /mnt/m; mount -t virtiofs share /mnt/m && cd /mnt/m/0 && { " + attempts + "; }"
        "; } 2>/dev/null; true"
    )
    assert sh(shared, script, user="root") == ""
    for path in (top / "secret.env", top / "sub" / "key.pem", top / "vault" / "gold"):
        assert path.read_text() == "the key\n"
    assert (top / ".sbxignore").read_text() == "*.env\nvault/\n"


def test_a_masked_name_is_never_seen_while_the_host_replaces_and_makes_files(
    shared: Installation, top: Path
) -> None:
    """A guest that looks as fast as it can against a host that renames as fast as it can."""
    script = (
        "set -f; mkdir -p /mnt/r; mount -t virtiofs share /mnt/r; cd /mnt/r/0; echo ready; "
        "while [ ! -e enough ]; do cat secret.env late.env sub/key.pem vault/gold; "
        "done 2>/dev/null; ls; echo over"
    )
    look = shared.popen("exec", "-u", "root", NAME, "sh", "-c", script)
    assert look.stdout is not None
    assert look.stdout.readline() == b"ready\n"
    for number in range(300):
        for name in ("secret.env", "late.env", "sub/key.pem"):
            new = top / f"new-{number}"
            new.write_text("the key\n")
            new.rename(top / name)
    (top / "vault").rename(top / "moved")
    (top / "vault").mkdir()
    (top / "vault" / "gold").write_text("the key\n")
    (top / "enough").touch()
    out, _ = look.communicate()
    seen = out.decode().split()
    assert "key" not in seen, seen
    assert seen[-1] == "over"
    assert {"file", "late.env", "sub"} <= set(seen), "a listing is whole"
    shutil.rmtree(top / "moved")
    (top / "enough").unlink()
    shared.ok("stop", NAME)
    assert sh(shared, "cat secret.env late.env sub/key.pem; ls vault") == "", "covered again"


def test_a_private_folder_is_the_sandboxs_own(shared: Installation, top: Path) -> None:
    assert sh(shared, "ls node_modules; touch node_modules/mine; ls node_modules") == "mine\n"
    sh(shared, "umount -l node_modules; touch node_modules/x 2>/dev/null; true", user="root")
    assert [p.name for p in (top / "node_modules").iterdir()] == ["of-the-host"]
    shared.ok("stop", NAME)
    assert sh(shared, "ls node_modules") == "mine\n"


@pytest.mark.timeout(240)
def test_masks_hold_in_branch_mode_and_git_unsafe_lifts_the_guard(
    shared: Installation, top: Path
) -> None:
    other = make_repository(shared.home / "other")
    git(other, "config", "user.name", "Zoë")
    git(other, "config", "user.email", "zoe@example.org")
    (other / "tracked.env").write_text("the key\n")
    git(other, "add", ".")
    git(other, "commit", "--quiet", "-m", "a secret")
    shared.ok(
        "create", "--name", "masked", "-q", "--memory", "512m", "shell", str(other),
        "--branch", "fix", "--mask", "*.env",
    )  # fmt: skip
    script = "cat tracked.env; git status --porcelain; git add -A; git commit --allow-empty -qm x"
    assert sh(shared, script, "masked") == ""
    shared.ok("stop", "masked")
    assert git(other, "show", "fix:tracked.env") == "the key", "an empty file is not committed"
    shared.ok(
        "create", "--name", "unsafe", "-q", "--memory", "512m", "shell", str(other),
        "--git-unsafe",
    )  # fmt: skip
    sh(shared, "git config sbx.test yes; touch .git/hooks/x", "unsafe")
    assert git(other, "config", "sbx.test") == "yes"
