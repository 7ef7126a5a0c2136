# SPDX-License-Identifier: Apache-2.0
"""Packing asks for the space first: mkfs.erofs does not always survive a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.image.pack import pack_tar
from sbx.sandbox.parts import RuntimeBundle


def test_an_archive_larger_than_the_disk_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    archive = tmp_path / "archive.tar"
    with archive.open("wb") as file:
        os.truncate(file.fileno(), 4 << 40)  # sparse
    runtime = RuntimeBundle(
        digest="r", root=tmp_path, kernel=tmp_path, kernel_release="6", versions={}
    )
    target = tmp_path / "layer.erofs"
    with pytest.raises(HostError, match="not enough disk space"):
        pack_tar(runtime, archive, target)
    assert not target.exists()
