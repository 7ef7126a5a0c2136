# SPDX-License-Identifier: Apache-2.0
"""The store on an empty cache: nothing is there, nothing is made by asking."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import HostError, NotFoundError
from sbx.image.space import check_space
from sbx.image.store import ImageStore
from sbx.system.progress import Silent


def test_empty_cache_has_nothing(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "cache")
    assert store.runtime() is None
    assert store.tools() is None
    assert store.template("shell") is None
    assert store.layer("0" * 64) is None
    assert store.templates() == ()
    assert store.usage() == ()
    assert store.prune() == 0
    assert not (tmp_path / "cache").exists()


def test_full_check_names_what_is_missing(tmp_path: Path) -> None:
    missing = ImageStore(tmp_path).verify_full(Silent())
    assert missing == ("runtime bundle", "template `shell`")


def test_unknown_template_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match='template not found: "mine"'):
        ImageStore(tmp_path).prepare(Silent(), template="mine")
    assert list(tmp_path.iterdir()) == []


def test_space_is_asked_for_up_front(tmp_path: Path) -> None:
    check_space(tmp_path, 1)
    with pytest.raises(HostError, match="not enough disk space") as caught:
        check_space(tmp_path, 1 << 60)
    assert caught.value.hint is not None
