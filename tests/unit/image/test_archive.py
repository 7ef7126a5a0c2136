# SPDX-License-Identifier: Apache-2.0
"""Unpacking: only what is wanted, in the merged layout, without owners, set-id bits or devices."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.image.archive import add_merged_links, merged_name, unpack


def member(
    name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    info.uid = 12345
    return info


def build(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(b"data"))
    return path


def test_selected_files_in_merged_layout(tmp_path: Path) -> None:
    archive = build(
        tmp_path / "a.tar",
        member("./bin", tarfile.SYMTYPE, target="usr/bin"),
        member("./bin/tool", mode=0o4755),
        member("./usr/bin", tarfile.DIRTYPE, 0o755),
        member("./usr/bin/alias", tarfile.LNKTYPE, target="./bin/tool"),
        member("./usr/bin/link", tarfile.SYMTYPE, target="tool"),
        member("./usr/share/doc/x"),
        member("./dev/null", tarfile.CHRTYPE),
    )
    tree = tmp_path / "tree"
    unpack(archive, tree, lambda name: not name.startswith("usr/share/"))
    add_merged_links(tree)
    tool = tree / "usr/bin/tool"
    assert tool.read_bytes() == b"data"
    assert tool.stat().st_mode & 0o7777 == 0o755
    assert tool.stat().st_uid == os.geteuid()
    assert tool.samefile(tree / "usr/bin/alias")
    assert (tree / "usr/bin/link").readlink() == Path("tool")
    assert (tree / "bin/tool").samefile(tool)
    assert not (tree / "usr/share").exists()
    assert not (tree / "dev").exists()


@pytest.mark.parametrize("name", ["../x", "./usr/../../x", "/a/../b"])
def test_names_that_leave_the_tree(tmp_path: Path, name: str) -> None:
    with pytest.raises(PermanentError, match="leaves its tree"):
        unpack(build(tmp_path / "a.tar", member(name)), tmp_path / "tree", lambda _: True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./", ""),
        (".", ""),
        ("./lib", "lib"),
        ("./lib/x.so", "usr/lib/x.so"),
        ("/lib64/ld.so", "usr/lib64/ld.so"),
        ("usr/lib/x", "usr/lib/x"),
        ("./libexec/x", "libexec/x"),
    ],
)
def test_merged_name(name: str, expected: str) -> None:
    assert merged_name(name) == expected
