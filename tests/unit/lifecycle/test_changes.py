# SPDX-License-Identifier: Apache-2.0
"""What a builder sandbox says has changed, on a tree of this test."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from sbx.lifecycle import changes


@pytest.fixture(name="top")
def _top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    for name in ("a/b", "kept/deep", "gone/below"):
        (top / name).mkdir(parents=True)
        (top / name / "file").write_text("old")
    (tmp_path / "work").mkdir()
    changes.begin(os.fsencode(top), os.fsencode(tmp_path / "work"))
    return top


def found(top: Path) -> tuple[list[str], list[str]]:
    changed, gone = changes.changes(os.fsencode(top), os.fsencode(top.parent / "work"))
    return (
        [os.path.relpath(os.fsdecode(path), top) for path in changed],
        [os.path.relpath(os.fsdecode(path), top) for path in gone],
    )


def test_nothing_changed(top: Path) -> None:
    assert found(top) == ([], [])


def test_new_and_changed_files_come_with_the_folders_above_them(top: Path) -> None:
    (top / "a/b/new").write_text("x")
    (top / "kept/deep/file").write_text("changed")
    assert found(top) == (
        ["a", "a/b", "a/b/new", "kept", "kept/deep", "kept/deep/file"],
        [],
    )


def test_a_time_that_was_set_back_hides_nothing(top: Path) -> None:
    (top / "a/b/file").write_text("changed")
    os.utime(top / "a/b/file", (0, 0))
    assert "a/b/file" in found(top)[0]


def test_only_the_topmost_of_what_is_gone_is_named(top: Path) -> None:
    (top / "gone/below/file").unlink()
    (top / "gone/below").rmdir()
    (top / "gone").rmdir()
    (top / "a/b/file").unlink()
    changed, gone = found(top)
    assert gone == ["a/b/file", "gone"]
    assert changed == ["a", "a/b"]


def test_the_archive_holds_both(top: Path) -> None:
    (top / "a/b/file").unlink()
    (top / "a/link").symlink_to("b")
    strange = os.fsdecode(b"a/\xff -new\n")
    (top / strange).write_text("x")
    program = (
        "import sys; from sbx.lifecycle import changes; "
        "changes.export(sys.argv[1].encode(), sys.argv[2].encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(top), str(top.parent / "work")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    archive = top.parent / "out.tar"
    archive.write_bytes(done.stdout)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert set(names) == {"a", "a/b", "a/link", strange, "a/b/.wh.file"}
