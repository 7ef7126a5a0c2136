# SPDX-License-Identifier: Apache-2.0
"""The lock file: written, read again, and refused when it cannot be understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.kit.args import NO_ARGS
from sbx.kit.compose import load_kit
from sbx.kit.fetch import Fetcher
from sbx.kit.findings import KitError
from sbx.kit.lock import NAME, lock_of, read_lock, write_lock

OWN = 'schemaVersion: "2"\nkind: sandbox\nname: own\nextends: claude\nargs: {a: {default: b}}\n'


def test_what_a_kit_brings_is_fixed(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(OWN)
    fetch = Fetcher(cwd=tmp_path)
    lock = lock_of(load_kit(".", fetch, NO_ARGS))
    (only,) = lock.kits
    assert (only.ref, only.name, only.resolved) == ("claude", "claude", "claude")
    assert only.digest == fetch("claude").bundle.digest
    assert (lock.images, lock.args) == (("shell",), {"a": "b"})
    write_lock(tmp_path, lock)
    assert read_lock(tmp_path) == lock
    assert lock.pins == {"claude": only.digest}


def test_no_file_and_files_that_are_none(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    for text in ("", "{}", '{"version": 1}', "[" * 100_000):
        (tmp_path / NAME).write_text(text)
        with pytest.raises(KitError, match="cannot read"):
            read_lock(tmp_path)
    (tmp_path / NAME).write_text('{"version": 2, "kits": [], "images": [], "args": {}}')
    with pytest.raises(KitError, match="of version 2"):
        read_lock(tmp_path)
