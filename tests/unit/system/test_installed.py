# SPDX-License-Identifier: Apache-2.0
"""Files of installed packages are compared with the digests in their records."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from sbx.system.installed import damaged_files


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with one installed package, as an installer leaves it."""
    (tmp_path / "thing.py").write_bytes(b"x = 1\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"thing.py,sha256={digest},6\nthing-1.0.dist-info/RECORD,,\n")
    return tmp_path


def test_a_package_as_installed_is_not_damaged(site: Path) -> None:
    assert damaged_files([str(site)]) == ()


def test_a_changed_file_is_found(site: Path) -> None:
    (site / "thing.py").write_bytes(b"x = 2\n")
    assert damaged_files([str(site)]) == (site / "thing.py",)


def test_a_missing_file_is_found(site: Path) -> None:
    (site / "thing.py").unlink()
    assert damaged_files([str(site)]) == (site / "thing.py",)
