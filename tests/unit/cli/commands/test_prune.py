# SPDX-License-Identifier: Apache-2.0
"""`sbx prune`: what would be lost is said before it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.store import records
from sbx.store.paths import Paths
from tests.kit.repositories import git, make_clone, make_repository
from tests.unit.cli.conftest import Call, MakeSandbox


@pytest.mark.timeout(60)  # git, some thirty times
def test_commits_and_changes_that_are_nowhere_else(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths, tmp_path: Path
) -> None:
    top = make_repository(tmp_path / "project")
    guest = make_clone(top, tmp_path / "inside")
    guest.commit("new", "x\n")
    state = guest.bring_over(3)
    stopped = datetime(2026, 1, 2, tzinfo=UTC)
    make_sandbox("box", stopped_at=stopped, git=guest.work)
    records.update_record(where, "box", git=state)
    make_sandbox("plain", stopped_at=stopped)

    shown = sbx("prune", "--dry-run")
    assert "box" in shown.out
    refused = sbx("prune")
    assert refused.status != 0, "nobody can be asked"
    for words in (
        "1 commits of sandbox box are on no other branch",
        "3 files in sandbox box have uncommitted changes",
    ):
        assert words in refused.err
    assert "plain are" not in refused.err
    assert git(top, "for-each-ref", "refs/sandboxes/box") != ""
    done = sbx("prune", "-f")
    assert done.status == 0, done.err
    assert "1 commits of sandbox box are on no other branch" in done.err
    assert git(top, "for-each-ref", "refs/sandboxes/box") == ""
    assert not where.sandbox("box").exists()
