# SPDX-License-Identifier: Apache-2.0
"""The folder for unpacking: passable, removed in the end, leftovers of killed builds too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sbx.image.scratch import tree_folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_passable_but_closed_and_gone_afterwards(base: Path) -> None:
    old = os.umask(0o077)
    try:
        with tree_folder() as folder:
            assert folder.parent == base
            assert stat.S_IMODE(folder.stat().st_mode) == 0o711
            (folder / "mmdebstrap.x/usr").mkdir(parents=True)
    finally:
        os.umask(old)
    assert list(base.iterdir()) == []


def test_leftovers_of_this_user_go_but_a_build_under_way_stays(base: Path) -> None:
    leftover = base / f"opensbx-build-{os.geteuid()}-0123"
    (leftover / "mmdebstrap.x").mkdir(parents=True)
    (leftover / ".lock").touch()
    other = base / f"opensbx-build-{os.geteuid() + 1}-0123"
    other.mkdir()
    with tree_folder() as first, tree_folder() as second:
        assert not leftover.exists()
        assert first.exists()
        assert second.exists()
        assert first != second
    assert list(base.iterdir()) == [other]
