# SPDX-License-Identifier: Apache-2.0
"""A new disk is formatted in the jail, small on the host, and a failure leaves it to the guest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sbx.image.store import ImageStore
from sbx.sandbox.parts import RuntimeBundle
from sbx.sandbox.units import GIB, MIB
from sbx.store.paths import find_paths
from sbx.system.files import allocated_bytes
from sbx.vm.disk import create_disk, format_disk

EXT4_MAGIC_OFFSET, EXT4_MAGIC = 1080, b"\x53\xef"


@pytest.fixture(name="runtime")
def _runtime() -> RuntimeBundle:
    """The bundle in the tester's cache, which `bin/test` has prepared."""
    runtime = ImageStore(find_paths().cache).runtime()
    if runtime is None:
        pytest.skip("needs the runtime bundle: run sbx setup")
    return runtime


def magic(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(EXT4_MAGIC_OFFSET)
        return file.read(2)


@pytest.mark.parametrize("size", [1 * GIB, 32 * GIB])
def test_a_new_disk_holds_a_file_system_and_takes_little(
    runtime: RuntimeBundle, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "data.img"
    create_disk(path, size)
    format_disk(path, runtime)
    assert magic(path) == EXT4_MAGIC
    assert path.stat().st_size == size
    assert allocated_bytes(path) < 5 * MIB


def test_a_disk_that_cannot_be_formatted_stays_blank(
    runtime: RuntimeBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data.img"
    create_disk(path, GIB)
    format_disk(path, replace(runtime, root=tmp_path))  # nothing in it
    assert magic(path) == b"\0\0"
    assert "disk is not formatted yet" in caplog.text
