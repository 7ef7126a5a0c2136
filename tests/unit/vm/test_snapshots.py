# SPDX-License-Identifier: Apache-2.0
"""Snapshots in the cache: found when whole, gone when not, and never too many."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.sandbox.parts import Accel, GuestTools, RuntimeBundle
from sbx.vm import snapshots
from sbx.vm.snapshots import RAM, STATE, Shape, Snapshots, host_processor

MIB = 1 << 20


@pytest.fixture(name="shape")
def _shape(runtime: RuntimeBundle, tmp_path: Path) -> Shape:
    tools = GuestTools(digest="t", image=tmp_path / "i", initramfs=tmp_path / "r", versions={})
    return Shape(
        runtime=runtime,
        tools=tools,
        cpus=2,
        accel=Accel.TCG,
        processor="",
        more_bytes=8 << 30,
    )


def put(store: Snapshots, shape: Shape, ram: bytes = b"memory") -> str:
    with store.building() as folder:
        assert folder is not None
        (folder / STATE).write_bytes(b"state")
        with (folder / RAM).open("wb") as file:
            file.write(ram)
            file.truncate(16 * MIB)
        store.publish(folder, shape)
    return shape.key()


def is_there(store: Snapshots, key: str) -> bool:
    with store.find(key) as found:
        return found is not None


def test_what_was_published_is_found_with_its_bytes(tmp_path: Path, shape: Shape) -> None:
    store = Snapshots(tmp_path)
    key = put(store, shape)
    with store.find(key) as found:
        assert found is not None
        assert os.pread(found.ram_fd, 6, 0) == b"memory"
        assert os.pread(found.state_fd, 99, 0) == b"state"
    assert [one.key for one in store.usage()] == [key]
    assert store.usage()[0].size_bytes < MIB
    assert not list((tmp_path / "snapshots").glob("temp-*"))


def test_nothing_is_found_where_nothing_is(tmp_path: Path, shape: Shape) -> None:
    store = Snapshots(tmp_path)
    assert not is_there(store, shape.key())
    assert store.usage() == ()
    assert store.remove(shape.key()) == 0


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(3)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"X")


def garble(path: Path) -> None:
    path.write_bytes(b"{]")


def foreign(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "0" * 64}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (RAM, cut),
        (RAM, scribble),
        (RAM, Path.unlink),
        (STATE, cut),
        (STATE, scribble),
        (STATE, Path.unlink),
        ("manifest.json", garble),
        ("manifest.json", foreign),
        ("manifest.json", Path.unlink),
    ],
)
def test_a_damaged_one_is_not_found_and_is_gone(
    tmp_path: Path, shape: Shape, name: str, damage: Callable[[Path], None]
) -> None:
    store = Snapshots(tmp_path)
    key = put(store, shape)
    damage(tmp_path / "snapshots" / key / name)
    assert not is_there(store, key)
    assert not (tmp_path / "snapshots" / key).exists()
    put(store, shape)
    assert is_there(store, key)


def test_a_copied_cache_is_read_once_and_trusted_again(tmp_path: Path, shape: Shape) -> None:
    key = put(Snapshots(tmp_path), shape)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "snapshots", copy / "snapshots")
    with (copy / "snapshots" / key / RAM).open("r+b") as file:  # the copy has no holes
        file.seek(0)
        file.truncate(0)
        file.write(b"memory")
        file.truncate(16 * MIB)
    stamp = copy / "snapshots" / key / "stamp"
    before = stamp.read_text()
    assert is_there(Snapshots(copy), key)
    assert stamp.read_text() != before


def test_only_one_builds_and_the_rest_of_a_killed_one_is_swept(tmp_path: Path) -> None:
    store = Snapshots(tmp_path)
    left = tmp_path / "snapshots" / "temp-dead"
    left.mkdir(parents=True, mode=0o700)
    left.parent.chmod(0o700)
    with store.building() as folder:
        assert folder is not None
        assert not left.exists()
        with Snapshots(tmp_path).building() as second:
            assert second is None
    assert not folder.exists()


def test_the_one_that_was_used_last_stays(
    tmp_path: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 2)
    store = Snapshots(tmp_path)
    keys = [put(store, replace(shape, cpus=n)) for n in (1, 2)]
    for age, key in enumerate(keys):
        os.utime(tmp_path / "snapshots" / key, (1000 + age, 1000 + age))
    assert is_there(store, keys[0])  # used: now the second one is older
    third = put(store, replace(shape, cpus=3))
    assert {one.key for one in store.usage()} == {keys[0], third}


def test_the_newest_stays_even_if_it_is_too_large(
    tmp_path: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_BYTES", MIB)
    store = Snapshots(tmp_path)
    put(store, replace(shape, cpus=1))
    large = put(store, shape, ram=b"x" * (2 * MIB))
    assert [one.key for one in store.usage()] == [large]


def test_everything_that_makes_a_machine_makes_its_key(shape: Shape) -> None:
    other = [
        replace(shape, cpus=1),
        replace(shape, accel=Accel.KVM),
        replace(shape, processor="another one"),
        replace(shape, more_bytes=9 << 30),
        replace(shape, tools=replace(shape.tools, digest="u")),
        replace(shape, runtime=replace(shape.runtime, digest="s")),
    ]
    assert len({each.key() for each in (shape, *other)}) == 7
    assert replace(shape).key() == shape.key()


def test_an_emulated_processor_is_the_same_everywhere() -> None:
    assert host_processor(Accel.TCG) == ""
    assert os.uname().release in host_processor(Accel.KVM)


_SLOW_BUILDER = """
import signal, sys, time
from pathlib import Path
from sbx.vm.snapshots import Snapshots

def leave(*_):
    raise SystemExit

signal.signal(signal.SIGTERM, leave)
try:
    with Snapshots(Path(sys.argv[1])).building():
        print("building", flush=True)
        signal.pause()
finally:
    time.sleep(0.5)  # an interpreter that ends needs a moment, with the lock let go
"""


def test_a_builder_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW_BUILDER, tmp_path], stdout=subprocess.PIPE
    ) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"building\n"
        Snapshots(tmp_path).stop_building()
        assert builder.poll() is not None
    assert not list((tmp_path / "snapshots").glob("temp-*"))
