# SPDX-License-Identifier: Apache-2.0
"""Sparse data disks: made, opened, grown, and what goes wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.errors import ConflictError, HostError, PermanentError, UserError
from sbx.sandbox.units import GIB
from sbx.vm import disk
from sbx.vm.disk import create_disk, grow_disk, open_disk


def test_a_new_disk_is_large_empty_and_private(tmp_path: Path) -> None:
    path = tmp_path / "data.img"
    create_disk(path, 32 * GIB)
    facts = path.stat()
    assert facts.st_size == 32 * GIB
    assert facts.st_blocks == 0
    assert facts.st_mode & 0o777 == 0o600


def test_an_existing_disk_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "data.img"
    path.write_text("precious")
    with pytest.raises(ConflictError, match="already exists"):
        create_disk(path, GIB)
    assert path.read_text() == "precious"


def test_a_link_in_the_disks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data.img").symlink_to(tmp_path / "other")
    with pytest.raises(ConflictError):
        create_disk(tmp_path / "data.img", GIB)
    with pytest.raises(HostError, match="cannot open"):
        open_disk(tmp_path / "data.img")
    assert not (tmp_path / "other").exists()


def test_no_space_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "NEEDED_BYTES", 1 << 62)
    with pytest.raises(HostError, match="no space left") as caught:
        create_disk(tmp_path / "data.img", GIB)
    assert caught.value.hint is not None
    assert "sbx prune" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_cannot_hold_it(tmp_path: Path, open_fds: Callable[[], int]) -> None:
    before = open_fds()
    with pytest.raises(HostError, match="cannot create"):
        create_disk(tmp_path / "data.img", (1 << 63) - 1)
    assert not list(tmp_path.iterdir())
    assert open_fds() == before


def test_growing_keeps_the_content(tmp_path: Path, open_fds: Callable[[], int]) -> None:
    path = tmp_path / "data.img"
    create_disk(path, GIB)
    with path.open("r+b") as file:
        file.write(b"content")
    before = open_fds()
    grow_disk(path, 2 * GIB)
    assert path.stat().st_size == 2 * GIB
    with path.open("rb") as file:
        assert file.read(7) == b"content"
    with pytest.raises(UserError, match="cannot become smaller"):
        grow_disk(path, GIB)
    assert path.stat().st_size == 2 * GIB
    assert open_fds() == before


def test_a_lost_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"data disk is missing: .*data\.img"):
        open_disk(tmp_path / "data.img")


def test_an_open_disk_can_be_written(tmp_path: Path) -> None:
    create_disk(tmp_path / "data.img", GIB)
    fd = open_disk(tmp_path / "data.img")
    assert os.pwrite(fd, b"x", 0) == 1
    assert not os.get_inheritable(fd)
    os.close(fd)
