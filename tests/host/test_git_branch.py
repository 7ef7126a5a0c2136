# SPDX-License-Identifier: Apache-2.0
"""Branch mode on the host with real git: the user's side stays as it is, and nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.errors import ConflictError, UserError
from sbx.sandbox.git import GitWorkspace
from sbx.workspace.git import branch, quarantine
from sbx.workspace.git.repository import find_repository, identity
from tests.kit.repositories import Guest, fingerprint, git, make_guest, make_repository


@pytest.fixture(name="top")
def _top(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "project")


@pytest.fixture(name="guest")
def _guest(top: Path, tmp_path: Path) -> Guest:
    return make_guest(top, tmp_path / "state")


def test_the_users_side_is_not_touched_byte_for_byte(top: Path, tmp_path: Path) -> None:
    (top / "file").write_text("edited\n")
    (top / "staged").write_text("staged\n")
    git(top, "add", "staged")
    before = fingerprint(top)
    guest = make_guest(top, tmp_path / "state")
    guest.commit("new", "new\n")
    guest.bring_over()
    assert fingerprint(top) == before
    branch.remove_worktree(guest.work)
    quarantine.unpublish(guest.work, sandbox="box")
    assert fingerprint(top) == before
    assert not (top / ".sbx").exists()
    assert git(top, "for-each-ref", "refs/sandboxes") == ""
    assert git(top, "log", "--format=%s", "fix").splitlines() == ["change new", "first"]


def test_the_hidden_folder_is_out_of_status_and_excluded_once(top: Path, tmp_path: Path) -> None:
    exclude = top / ".git" / "info" / "exclude"
    exclude.write_text("*.log")  # without a newline at its end
    for name in ("one", "two"):
        make_guest(top, tmp_path / "state", name, sandbox=name)
    assert git(top, "status", "--porcelain") == ""
    assert exclude.read_text() == "*.log\n/.sbx/\n"


def test_files_and_index_are_as_git_would_have_them(guest: Guest) -> None:
    assert (guest.work.worktree / "sub" / "other").read_text() == "two\n"
    assert git(guest.work.worktree, "status", "--porcelain") == ""
    assert guest.git("status", "--porcelain") == ""


def test_commits_arrive_on_the_branch_and_the_worktree_follows(top: Path, guest: Guest) -> None:
    made = guest.commit("sub/deep/new", "x\n")
    state = guest.bring_over()
    assert (state.head, state.ahead, state.problem) == (made, 1, None)
    assert git(top, "rev-parse", "fix", "refs/sandboxes/box/fix").split() == [made, made]
    assert git(guest.work.worktree, "status", "--porcelain") == ""
    assert git(top, "fsck", "--strict", "--no-dangling") == ""


def test_other_branches_and_rewritten_ones_arrive_too(top: Path, guest: Guest) -> None:
    guest.commit("a", "1\n")
    guest.bring_over()
    guest.git("branch", "topic/one")
    guest.git("commit", "--amend", "--quiet", "-m", "better")
    assert guest.bring_over().problem is None
    assert git(top, "log", "-1", "--format=%s", "fix") == "better"
    guest.git("branch", "-m", "topic/one", "topic")  # a folder of refs becomes a ref
    guest.bring_over()
    names = git(top, "for-each-ref", "--format=%(refname)", "refs/sandboxes").splitlines()
    assert names == ["refs/sandboxes/box/fix", "refs/sandboxes/box/topic"]


def test_a_branch_that_the_user_moved_is_left_alone(top: Path, guest: Guest) -> None:
    guest.commit("a", "1\n")
    guest.bring_over()
    (guest.work.worktree / "mine").write_text("of the user\n")
    git(guest.work.worktree, "add", "mine")
    git(guest.work.worktree, "commit", "--quiet", "-m", "by the user")
    theirs = git(top, "rev-parse", "fix")
    made = guest.commit("b", "2\n")
    state = guest.bring_over()
    assert state.problem is not None
    assert "was moved on the host" in state.problem
    assert git(top, "rev-parse", "fix", "refs/sandboxes/box/fix").split() == [theirs, made]


def test_uncommitted_work_comes_as_a_commit_of_no_branch(top: Path, guest: Guest) -> None:
    (guest.work.worktree / "file").write_text("changed\n")
    (guest.work.worktree / "-rf\n\x1b[31m").write_text("odd\n")
    state = guest.bring_over(guest.save_uncommitted())
    assert (state.ahead, state.uncommitted) == (0, 2)
    wip = quarantine.known(guest.ours).wip
    assert wip is not None
    assert guest.ours.text("cat-file", "-p", f"{wip}:file") == "changed"
    assert guest.git("status", "--porcelain", "-uno") == " M file", "its index is as before"
    guest.save_uncommitted()
    assert guest.bring_over(2).uncommitted == 2
    assert quarantine.known(guest.ours).wip == wip, "the same files are the same commit"
    guest.git("checkout", "--quiet", "file")
    (guest.work.worktree / "-rf\n\x1b[31m").unlink()
    assert guest.bring_over(guest.save_uncommitted()).uncommitted == 0
    assert quarantine.known(guest.ours).wip is None
    assert git(top, "branch", "--list").split() == ["+", "fix", "*", "main"]


def test_three_sandboxes_and_the_user_work_at_once(top: Path, tmp_path: Path) -> None:
    guests = {n: make_guest(top, tmp_path / "state", n, sandbox=n) for n in ("a", "b", "c")}
    for turn in ("1", "2"):
        for name, guest in guests.items():
            guest.commit(name, turn)
            guest.bring_over()
        (top / "file").write_text(turn)
        git(top, "commit", "--quiet", "-am", f"user {turn}")
    assert git(top, "log", "--format=%s").splitlines() == ["user 2", "user 1", "first"]
    for name in guests:
        subjects = git(top, "log", "--format=%s", name).splitlines()
        assert subjects == [f"change {name}", f"change {name}", "first"]


def test_programs_that_the_repository_names_do_not_run(top: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho x >>{mark}\ncat\n")
    program.chmod(0o755)
    (top / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "attributes")
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "filter.evil.smudge",
        "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "diff.evil.command",
        "merge.evil.driver", "core.alternateRefsCommand", "gpg.program", "diff.external",
        "uploadpack.packObjectsHook",
    ):  # fmt: skip
        git(top, "config", key, str(program))
    git(top, "config", "commit.gpgSign", "true")
    git(top, "config", "filter.evil.required", "true")
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "post-merge"):
        (top / ".git" / "hooks" / hook).write_bytes(program.read_bytes())
        (top / ".git" / "hooks" / hook).chmod(0o755)
    mark.unlink(missing_ok=True)
    guest = make_guest(top, tmp_path / "state")
    guest.commit("a", "1\n")
    guest.bring_over(guest.save_uncommitted())
    branch.remove_worktree(guest.work)
    assert not mark.exists()


def test_auto_finds_a_free_name(top: Path) -> None:
    repository = find_repository(top, flag="--branch")
    assert branch.choose_branch(repository, "auto", sandbox="my box") == "sbx-my-box"
    git(top, "branch", "sbx-my-box")
    assert branch.choose_branch(repository, "auto", sandbox="my box") == "sbx-my-box-2"


@pytest.mark.parametrize("name", ["-x", "a..b", "a b", "x.lock", "", "@{-1}", "a\nb", "refs/"])
def test_what_is_no_branch_is_refused(top: Path, name: str) -> None:
    with pytest.raises(UserError):
        branch.choose_branch(find_repository(top, flag="--branch"), name, sandbox="box")


def test_a_branch_that_is_checked_out_is_refused(top: Path, guest: Guest) -> None:
    for name in ("main", guest.work.branch or ""):
        with pytest.raises(ConflictError, match="checked out"):
            branch.choose_branch(find_repository(top, flag="--branch"), name, sandbox="other")


def test_a_link_in_the_way_leads_nowhere(top: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (top / ".sbx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConflictError, match="symbolic link"):
        make_guest(top, tmp_path / "state")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert git(top, "branch", "--list", "fix") == ""


def _linked(top: Path, base: Path) -> Path:
    git(top, "worktree", "add", "--quiet", "-b", "linked", base / "linked")
    return base / "linked"


def _detached(top: Path, base: Path) -> Path:
    del base
    git(top, "checkout", "--quiet", "--detach")
    return top


def _shallow(top: Path, base: Path) -> Path:
    (top / "file").write_text("second\n")
    git(top, "commit", "--quiet", "-am", "second")
    git(base, "clone", "--quiet", "--depth=1", f"file://{top}", "shallow")
    return base / "shallow"


def _sha256(top: Path, base: Path) -> Path:
    del top
    return make_repository(base / "sha256", "--object-format=sha256")


def _borrowing(top: Path, base: Path) -> Path:
    git(base, "clone", "--quiet", "--shared", str(top), "borrowing")
    return base / "borrowing"


def _odd_name(top: Path, base: Path) -> Path:
    del top
    return make_repository(base / "a b'\"$(id) ünï")


def _sparse(top: Path, base: Path) -> Path:
    del base
    git(top, "sparse-checkout", "set", "nothing")
    return top


def _with_submodule(top: Path, base: Path) -> Path:
    other = make_repository(base / "other")
    git(top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "mod")
    git(top, "commit", "--quiet", "-m", "submodule")
    return top


def _lfs(top: Path, base: Path) -> Path:
    """With a real git-lfs, whose filters the repository's own configuration demands."""
    del base
    git(top, "lfs", "install", "--local")
    git(top, "lfs", "track", "*.bin")
    (top / "large.bin").write_bytes(bytes(range(256)) * 400)
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "large")
    return top


def _dirty(top: Path, base: Path) -> Path:
    del base
    (top / "file").write_text("not committed\n")
    (top / "loose").write_text("not tracked\n")
    (top / "sub" / "other").unlink()
    git(top, "add", "loose")
    return top


KINDS = (
    _linked, _detached, _shallow, _sha256, _borrowing, _odd_name, _sparse, _with_submodule, _lfs,
    _dirty,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_repositories_of_many_kinds_work(
    top: Path, tmp_path: Path, kind: Callable[[Path, Path], Path]
) -> None:
    folder = kind(top, tmp_path)
    guest = make_guest(folder, tmp_path / "state")
    assert (guest.work.worktree / "sub" / "other").exists()
    assert guest.git("status", "--porcelain") == ""
    made = guest.commit("new", "x\n")
    state = guest.bring_over(guest.save_uncommitted())
    assert (state.problem, state.ahead) == (None, 1)
    assert git(folder, "rev-parse", "fix") == made
    assert git(folder, "fsck", "--no-dangling") == ""


def test_large_files_are_pointers_inside_and_whole_on_the_users_branch(
    top: Path, tmp_path: Path
) -> None:
    folder = _lfs(top, tmp_path)
    guest = make_guest(folder, tmp_path / "state")
    pointer = (guest.work.worktree / "large.bin").read_text()
    assert pointer.startswith("version https://git-lfs")
    guest.commit("new", "x\n")
    guest.bring_over(guest.save_uncommitted())
    git(folder, "merge", "--quiet", "fix")
    assert (folder / "large.bin").read_bytes() == bytes(range(256)) * 400
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "lfs", "fsck") == "Git LFS fsck OK"


def _unborn(base: Path) -> Path:
    (base / "unborn").mkdir()
    git(base / "unborn", "init", "--quiet")
    return base / "unborn"


def _bare(base: Path) -> Path:
    (base / "bare").mkdir()
    git(base / "bare", "init", "--quiet", "--bare")
    return base / "bare"


def _inside_git(base: Path) -> Path:
    return make_repository(base / "whole") / ".git"


def _partial(base: Path) -> Path:
    git(make_repository(base / "partial"), "config", "extensions.partialClone", "origin")
    return base / "partial"


def _none(base: Path) -> Path:
    return base


BROKEN = (
    (_unborn, "needs a commit"),
    (_bare, "bare repository"),
    (_inside_git, "needs a working tree"),
    (_partial, "partial clone"),
    (_none, "requires a Git repository"),
)


@pytest.mark.parametrize(("kind", "words"), BROKEN)
def test_what_cannot_work_gets_one_sentence(
    tmp_path: Path, kind: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        find_repository(kind(tmp_path), flag="--branch")


def test_a_worktree_full_of_odd_files_can_be_removed(top: Path, guest: Guest) -> None:
    place = guest.work.worktree
    (place / "link").symlink_to(top)
    (place / "closed").mkdir()
    (place / "closed" / "file").write_text("x")
    (place / "closed").chmod(0)
    before = fingerprint(top)
    branch.remove_worktree(guest.work)
    assert not place.exists()
    assert fingerprint(top) == before
    assert not branch.has_worktree(guest.work)


def test_the_users_name_is_read_from_the_repository(top: Path) -> None:
    git(top, "config", "user.name", "Zoë")
    git(top, "config", "user.email", "zoe@example.org")
    assert identity(top / ".git") == ("Zoë", "zoe@example.org")


def test_an_existing_branch_is_gone_on_with(top: Path, tmp_path: Path) -> None:
    git(top, "branch", "old")
    work: GitWorkspace = make_guest(top, tmp_path / "state", "old").work
    assert (work.branch, work.start) == ("old", git(top, "rev-parse", "old"))
    assert not branch.index_of(work).is_symlink()
