# SPDX-License-Identifier: Apache-2.0
"""Where limits are possible, and what is written for them: arithmetic on an imitated tree."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.system.cgroup import (
    CgroupLimits,
    CgroupSupport,
    find_support,
    make_cgroup,
)


def tree(tmp_path: Path, own: str, folders: dict[str, str]) -> tuple[Path, Path, Path]:
    """A tree with the controllers that each folder gives its children; and the files of /proc."""
    root = tmp_path / "cg"
    for name, given in folders.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (
            ("cgroup.procs", ""),
            ("cgroup.controllers", given),
            ("cgroup.subtree_control", given),
        ):
            (folder / file).write_text(text)
    mounts, membership = tmp_path / "mountinfo", tmp_path / "cgroup"
    mounts.write_text(
        "20 1 0:3 / /proc rw - proc proc rw\n"
        f"30 1 0:26 / {root} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    membership.write_text(f"9:memory:/\n0::{own}\n")
    return root, mounts, membership


def test_the_nearest_place_with_controllers(tmp_path: Path) -> None:
    root, mounts, own = tree(
        tmp_path,
        "/user/app/shell.scope",
        {
            "": "",
            "user": "cpu memory pids",
            "user/app": "memory pids io",
            "user/app/shell.scope": "",
        },
    )
    found = find_support(mounts=mounts, own=own)
    assert found.parent == root / "user/app"
    assert found.controllers == {"memory", "pids"}
    assert found.reason == "cgroup version 2 lacks: cpu"


def test_everything_can_be_limited(tmp_path: Path) -> None:
    root, mounts, own = tree(tmp_path, "/", {"": "cpu cpuset memory pids io"})
    found = find_support(mounts=mounts, own=own)
    assert found == CgroupSupport(
        parent=root, controllers=frozenset({"cpu", "memory", "pids"}), reason=None
    )


def test_version_one_only(tmp_path: Path) -> None:
    _, mounts, own = tree(tmp_path, "/", {"": ""})
    mounts.write_text("20 1 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    found = find_support(mounts=mounts, own=own)
    assert found.parent is None
    assert found.reason == "cgroup version 2 is not mounted"


def test_a_path_outside_of_our_view_is_not_used(tmp_path: Path) -> None:
    _, mounts, own = tree(tmp_path, "/", {"": "memory"})
    own.write_text("9:memory:/\n")
    assert find_support(mounts=mounts, own=own).parent is None


def test_unsupported_means_none() -> None:
    support = CgroupSupport(parent=None, controllers=frozenset(), reason="no")
    with make_cgroup(support, "x", CgroupLimits(memory_bytes=1)) as cgroup:
        assert cgroup is None


@pytest.mark.parametrize(
    ("controllers", "files"),
    [
        ({"memory", "pids", "cpu"}, {"memory.max", "pids.max", "cpu.max"}),
        ({"pids"}, {"pids.max"}),
        (set[str](), set[str]()),
    ],
)
def test_limits_are_written_where_they_can_be(
    tmp_path: Path, controllers: set[str], files: set[str]
) -> None:
    support = CgroupSupport(parent=tmp_path, controllers=frozenset(controllers), reason=None)
    limits = CgroupLimits(memory_bytes=1 << 30, processes=100, cpus=1.5)
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(make_cgroup(support, "x", limits))
        assert made is not None
        assert made.path == tmp_path / "opensbx-x"
        values = {file.name: file.read_text() for file in made.path.iterdir()}
        expected = {"memory.max": "1073741824", "pids.max": "100", "cpu.max": "150000 100000"}
        assert values == {name: expected[name] for name in files}
        (made.path / "cgroup.events").write_text("populated 0\n")
        # A folder that is not the kernel's cannot go with files in it.
        with pytest.raises(HostError, match="cannot remove cgroup"):
            stack.close()
