# SPDX-License-Identifier: Apache-2.0
"""Folders with more files than may be open."""

from __future__ import annotations

from pathlib import Path

from sbx.workspace.limits import many_files_warning


def test_a_folder_with_more_files_than_may_be_open(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    large = tmp_path / "large" / "below"
    large.mkdir(parents=True)
    (large / "loop").symlink_to(tmp_path)
    for number in range(20):
        (large / f"f{number}").touch()
    folders = [tmp_path / "small", tmp_path / "large"]
    assert many_files_warning(folders, limit=22) is None
    text = many_files_warning(folders, limit=21)
    assert text is not None
    assert f"`{tmp_path}/large` has more than 21 files" in text
    assert many_files_warning([tmp_path / "nosuch"], limit=1) is None
    assert many_files_warning(folders, limit=100_000) is None, "not even counted"
