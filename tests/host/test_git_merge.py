# SPDX-License-Identifier: Apache-2.0
"""The way back with real git: clean merges come in, everything else changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import ConflictError, UserError
from sbx.workspace.git import changes
from sbx.workspace.git.merge import How, Merged, bring_in
from sbx.workspace.git.review import review
from tests.kit.repositories import Guest, fingerprint, git, make_guest, make_repository


@pytest.fixture(name="top")
def _top(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "project")


@pytest.fixture(name="guest")
def _guest(top: Path, tmp_path: Path) -> Guest:
    return make_guest(top, tmp_path / "state")


def bring(guest: Guest, how: How) -> Merged:
    """Bring the guest's work in, as `sbx merge` and `sbx apply` do."""
    guest.bring_over(guest.save_uncommitted())
    tip = changes.tip_of(guest.ours) if how is How.APPLY else changes.head_of(guest.ours)
    assert tip is not None
    return bring_in(guest.ours, guest.work, tip, sandbox="box", how=how)


def state_of(top: Path) -> dict[str, str]:
    """Everything of the user's that a refused merge must leave."""
    git(top, "update-index", "-q", "--refresh", check=False)
    return {**fingerprint(top), "HEAD": git(top, "rev-parse", "HEAD")}


def test_a_branch_that_is_ahead_is_moved_to(top: Path, guest: Guest) -> None:
    made = guest.commit("new", "x\n")
    done = bring(guest, How.MERGE)
    assert done == Merged(commit=made, branch="main", fast_forward=True)
    assert git(top, "rev-parse", "main") == made
    assert (top / "new").read_text() == "x\n"
    assert git(top, "status", "--porcelain") == ""
    assert bring(guest, How.MERGE).commit is None, "nothing to do any more"


def test_both_sides_are_merged(top: Path, guest: Guest) -> None:
    guest.commit("new", "x\n")
    (top / "file").write_text("of the user\n")
    git(top, "commit", "--quiet", "-am", "by the user")
    done = bring(guest, How.MERGE)
    assert not done.fast_forward
    subjects = git(top, "log", "--first-parent", "--format=%s").splitlines()
    assert subjects == ["Merge `fix` of sandbox box", "by the user", "first"]
    assert ((top / "file").read_text(), (top / "new").read_text()) == ("of the user\n", "x\n")
    assert git(top, "status", "--porcelain") == ""
    assert git(top, "fsck", "--strict", "--no-dangling") == ""


def test_squash_makes_one_commit(top: Path, guest: Guest) -> None:
    guest.commit("a", "1\n")
    guest.commit("b", "2\n")
    bring(guest, How.SQUASH)
    assert git(top, "log", "--format=%p", "-1", "main").split() == [
        git(top, "rev-parse", "--short", "main~1")
    ]
    assert git(top, "log", "-1", "--format=%B").splitlines()[2:4] == ["* change a", "* change b"]
    assert git(top, "rev-list", "--count", "main") == "2"


def test_apply_stages_everything_and_commits_nothing(top: Path, guest: Guest) -> None:
    guest.commit("a", "1\n")
    (guest.work.worktree / "loose").write_text("2\n")
    head = git(top, "rev-parse", "HEAD")
    bring(guest, How.APPLY)
    assert git(top, "rev-parse", "HEAD") == head
    assert git(top, "status", "--porcelain").splitlines() == ["A  a", "A  loose"]
    assert (top / "loose").read_text() == "2\n"


@pytest.mark.parametrize("how", list(How))
def test_a_conflict_changes_nothing(top: Path, guest: Guest, how: How) -> None:
    guest.commit("file", "of the sandbox\n")
    (top / "file").write_text("of the user\n")
    git(top, "commit", "--quiet", "-am", "by the user")
    before = state_of(top)
    with pytest.raises(ConflictError, match="does not merge cleanly: file"):
        bring(guest, how)
    assert state_of(top) == before


@pytest.mark.parametrize("how", list(How))
def test_changes_in_the_way_stop_it_and_others_stay(top: Path, guest: Guest, how: How) -> None:
    guest.commit("file", "of the sandbox\n")
    guest.commit("new", "of the sandbox\n")
    (top / "file").write_text("being edited\n")
    before = state_of(top)
    with pytest.raises(ConflictError, match="in the way"):
        bring(guest, how)
    assert state_of(top) == before
    git(top, "checkout", "--quiet", "file")
    (top / "new").write_text("untracked\n")
    with pytest.raises(ConflictError, match="in the way"):
        bring(guest, how)
    assert (top / "new").read_text() == "untracked\n"
    (top / "new").unlink()
    (top / "sub" / "other").write_text("being edited\n")
    bring(guest, how)
    assert (top / "sub" / "other").read_text() == "being edited\n"
    assert (top / "file").read_text() == "of the sandbox\n"


def test_a_merge_under_way_is_left_alone(top: Path, guest: Guest) -> None:
    guest.commit("a", "1\n")
    (top / ".git" / "MERGE_HEAD").write_text(git(top, "rev-parse", "HEAD") + "\n")
    with pytest.raises(UserError, match="in the middle"):
        bring(guest, How.MERGE)


def test_attributes_from_inside_start_no_program(top: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho x >>{mark}\ncat\n")
    program.chmod(0o755)
    for key in ("filter.evil.smudge", "filter.evil.clean", "filter.evil.process",
                "merge.evil.driver", "diff.evil.textconv", "core.fsmonitor"):  # fmt: skip
        git(top, "config", key, str(program))
    for hook in ("post-checkout", "post-merge", "pre-merge-commit", "reference-transaction",
                 "post-index-change"):  # fmt: skip
        (top / ".git" / "hooks" / hook).write_bytes(program.read_bytes())
        (top / ".git" / "hooks" / hook).chmod(0o755)
    guest = make_guest(top, tmp_path / "state")
    (guest.work.worktree / ".gitattributes").write_text("* filter=evil merge=evil diff=evil\n")
    guest.commit("file", "one\ntwo\n")
    git(top, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "commit", "--quiet",
        "--allow-empty", "-m", "by the user")  # fmt: skip
    mark.unlink(missing_ok=True)
    bring(guest, How.MERGE)
    start = guest.work.start
    tip = changes.tip_of(guest.ours)
    assert tip is not None
    assert "+two" in changes.diff_text(guest.ours, start, tip, summary=False)
    assert [f.path for f in review(changes.changed_files(guest.ours, start, tip))] == [
        ".gitattributes"
    ]
    assert not mark.exists()
    assert (top / "file").read_text() == "one\ntwo\n"


def test_the_difference_includes_what_is_not_committed(guest: Guest) -> None:
    guest.commit("a", "1\n")
    (guest.work.worktree / "loose\x1b[31m").write_text("2\n")
    (guest.work.worktree / "link").symlink_to("/etc/passwd")
    guest.bring_over(guest.save_uncommitted())
    tip = changes.tip_of(guest.ours)
    assert tip is not None
    changed = changes.changed_files(guest.ours, guest.work.start, tip)
    assert [file.path for file in changed] == ["a", "link", "loose\x1b[31m"]
    assert changed[1].link_target == "/etc/passwd"
    text = changes.diff_text(guest.ours, guest.work.start, tip, summary=True)
    assert "\x1b" not in text
