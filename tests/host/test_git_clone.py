# SPDX-License-Identifier: Apache-2.0
"""Clone mode with real git: repositories of every kind, and a clone whose start is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.workspace.git import quarantine
from sbx.workspace.git.from_url import plan_url_clone, url_losses
from sbx.workspace.git.repository import find_repository
from sbx.workspace.git.settle import settle
from tests.host.test_git_branch import BROKEN, KINDS
from tests.kit.repositories import Guest, fingerprint, git, make_clone, make_repository


@pytest.mark.parametrize("kind", KINDS)
def test_repositories_of_many_kinds_work(
    tmp_path: Path, kind: Callable[[Path, Path], Path]
) -> None:
    folder = kind(make_repository(tmp_path / "project"), tmp_path)
    before = fingerprint(folder)
    guest = make_clone(folder, tmp_path / "state")
    assert (guest.work.worktree / "sub" / "other").read_text() == "two\n"
    assert guest.git("status", "--porcelain") == ""
    made = guest.commit("new", "x\n")
    state = guest.bring_over(guest.save_uncommitted())
    assert (state.problem, state.ahead, state.head) == (None, 1, made)
    assert git(folder, "rev-parse", "refs/sandboxes/box/HEAD") == made
    assert git(folder, "fsck", "--no-dangling") == ""
    assert fingerprint(folder) == before


@pytest.mark.parametrize(("kind", "words"), BROKEN)
def test_what_cannot_work_gets_one_sentence(
    tmp_path: Path, kind: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        find_repository(kind(tmp_path), flag="--clone")


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_of_a_url_only_what_is_new_comes_over(tmp_path: Path, form: str) -> None:
    there = make_repository(tmp_path / "there", f"--object-format={form}")
    for number in range(3):
        git(there, "commit", "--quiet", "--allow-empty", "-m", f"old {number}")
    place = tmp_path / "ours.git"
    work = plan_url_clone("https://forge.test/demo.git", place)
    ours = quarantine.make_quarantine(place, work)
    inside = replace(work, worktree=there)
    guest = Guest(work=inside, git_dir=there / ".git", ours=ours)
    assert quarantine.start_of(ours, work) is None
    assert url_losses(ours, "box") == ()
    refs = guest.converse(lambda fds: quarantine.list_guest(ours, fds=fds))
    quarantine.begin(ours, work, refs)
    guest.converse(lambda fds: quarantine.take(ours, refs, fds=fds, is_first=True))
    assert refs.head is not None
    ours.run("update-ref", quarantine.START, refs.head)
    assert ours.text("log", "--format=%s", "refs/guest/head") == "old 2"
    guest.commit("new", "x\n")
    guest.git("checkout", "--quiet", "-b", "topic")
    guest.commit("newer", "x\n")
    refs = guest.converse(lambda fds: quarantine.list_guest(ours, fds=fds))
    guest.converse(lambda fds: quarantine.take(ours, refs, fds=fds))
    state = settle(ours, work, sandbox="box", last=None, uncommitted=0)
    assert (state.ahead, state.problem) == (2, None)
    assert ours.text("log", "--format=%s", "refs/guest/head").splitlines() == [
        "change newer", "change new", "old 2",
    ]  # fmt: skip
    assert url_losses(ours, "box")[0].startswith("2 commits of sandbox box are lost unless")
