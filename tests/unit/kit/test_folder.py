# SPDX-License-Identifier: Apache-2.0
"""A folder is read as it lies there, and only it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.kit.bundle import KitFile
from sbx.kit.findings import KitError
from sbx.kit.folder import read_folder


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "files/home/bin").mkdir(parents=True)
    (tmp_path / "spec.yaml").write_text("name: x\n")
    (tmp_path / "files/home/bin/tool").write_bytes(b"t")
    (tmp_path / "files/home/bin/tool").chmod(0o755)
    return tmp_path


def test_what_belongs_to_it_and_what_does_not(folder: Path) -> None:
    (folder / "README.md").write_text("r")
    (folder / "secret").write_text("s")
    (folder / "files/home/link").symlink_to("bin/tool")
    found = read_folder(folder, what="k")
    assert found.spec == b"name: x\n"
    assert found.files == {
        "README.md": KitFile(b"r"),
        "files/home/bin/tool": KitFile(b"t", executable=True),
        "files/home/link": KitFile(b"", link="bin/tool"),
    }


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd"])
def test_links_out_are_refused_and_never_followed(folder: Path, target: str) -> None:
    (folder / "files/home/link").symlink_to(target)
    with pytest.raises(KitError, match="leads out"):
        read_folder(folder, what="k")


def test_a_linked_folder_is_not_entered(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("s")
    (folder / "files/workspace").symlink_to(outside)
    with pytest.raises(KitError):
        read_folder(folder, what="k")


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "files/home/pipe")
    with pytest.raises(KitError, match="neither file"):
        read_folder(folder, what="k")


def test_no_folder_and_no_spec(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="cannot read kit"):
        read_folder(tmp_path / "none", what="k")
    with pytest.raises(KitError, match=r"no spec\.yaml"):
        read_folder(tmp_path, what="k")
