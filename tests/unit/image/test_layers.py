# SPDX-License-Identifier: Apache-2.0
"""Layers: adopted by digest, never used when they were changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sbx.image.layers import LayerShelf
from sbx.sandbox.parts import Layer

DATA = b"erofs" * 1000


@pytest.fixture
def shelf(tmp_path: Path) -> LayerShelf:
    return LayerShelf(tmp_path)


def adopt(shelf: LayerShelf, data: bytes = DATA) -> Layer:
    with shelf.working_folder() as folder:
        (folder / "layer").write_bytes(data)
        return shelf.adopt(folder / "layer")


def test_adopted_layer_is_whole(shelf: LayerShelf) -> None:
    layer = adopt(shelf)
    assert layer.digest == hashlib.sha256(DATA).hexdigest()
    assert layer.size_bytes == len(DATA)
    assert shelf.is_whole(layer, full=False)
    assert shelf.is_whole(layer, full=True)
    assert shelf.find(layer.digest) == layer


def test_working_folder_and_leftovers_are_removed(shelf: LayerShelf, tmp_path: Path) -> None:
    leftover = tmp_path / "layers/temp-1234"
    leftover.mkdir(parents=True)
    adopt(shelf)
    assert not list((tmp_path / "layers").glob("temp-*"))


@pytest.mark.parametrize("full", [False, True])
def test_flipped_byte_is_damage(shelf: LayerShelf, *, full: bool) -> None:
    layer = adopt(shelf)
    layer.path.write_bytes(b"X" + DATA[1:])
    assert not shelf.is_whole(layer, full=full)
    assert not layer.path.exists()
    assert shelf.find(layer.digest) is None
    assert adopt(shelf) == layer


def test_cut_file_is_damage(shelf: LayerShelf) -> None:
    layer = adopt(shelf)
    layer.path.write_bytes(DATA[:-1])
    assert shelf.find(layer.digest) is None


def test_lost_stamp_only_costs_a_full_check(shelf: LayerShelf) -> None:
    layer = adopt(shelf)
    stamp = layer.path.with_suffix(".stamp")
    right = stamp.read_bytes()
    stamp.unlink()
    assert shelf.is_whole(layer, full=False)
    assert stamp.read_bytes() == right


def test_prune_keeps_what_is_named(shelf: LayerShelf) -> None:
    first, second = adopt(shelf), adopt(shelf, b"other" * 2000)
    assert shelf.prune(frozenset({second.digest})) > 0
    assert shelf.digests() == (second.digest,)
    assert not first.path.with_suffix(".stamp").exists()
