# SPDX-License-Identifier: Apache-2.0
"""Folders that belong to somebody else: only root can set that up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.store.paths import Paths, make_private


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: gives a folder away")
    base = tmp_path / "x"
    where = Paths(state=base / "s", config=base / "c", cache=base / "k", runtime=base / "r")
    base.mkdir()
    os.chown(base, 12345, 12345)
    with pytest.raises(HostError, match="belongs to another user"):
        make_private(where)
