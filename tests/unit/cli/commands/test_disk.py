# SPDX-License-Identifier: Apache-2.0
"""`sbx disk grow`, and what `ls` and `inspect` say of disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sbx.cli import views
from sbx.lifecycle.status import status
from sbx.sandbox.status import DiskState, SandboxStatus
from sbx.store import paths as names
from sbx.store.paths import Paths
from sbx.vm.disk import create_disk
from tests.kit.fake_supervisor import LIVE
from tests.unit.cli.conftest import Call, MakeSandbox


def running(where: Paths, state: DiskState) -> SandboxStatus:
    live = replace(LIVE, disk_state=state)
    return replace(status(where, "box"), live=live, state=live.state)


def test_growing_says_both_sizes(sbx: Call, make_sandbox: MakeSandbox, where: Paths) -> None:
    make_sandbox("box")
    create_disk(where.sandbox("box") / names.DATA_DISK, 1 << 30)
    assert sbx("disk", "grow", "box", "2g").out == "The disk of box has 2 GiB now, 1 GiB before\n"
    wanted = {"sandbox": "box", "before_bytes": 2 << 30, "disk_bytes": 3 << 30}
    assert sbx("disk", "grow", "box", "3g", "--json").json() == wanted
    assert "3 GiB, 0 B taken on the host" in sbx("inspect", "box").out


@pytest.mark.parametrize(
    ("size", "words"),
    [("1g", "a disk cannot become smaller: 2 GiB now, 1 GiB asked for"), ("x", "invalid size")],
)
def test_what_is_refused(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths, size: str, words: str
) -> None:
    make_sandbox("box")
    create_disk(where.sandbox("box") / names.DATA_DISK, 2 << 30)
    done = sbx("disk", "grow", "box", size)
    assert done.status == 1
    assert words in done.err


def test_no_such_sandbox(sbx: Call) -> None:
    assert sbx("disk", "grow", "none", "2g").status == 1


@pytest.mark.parametrize(
    ("state", "cell"),
    [
        (DiskState.OK, "running"),
        (DiskState.LOW, "running"),
        (DiskState.FULL, "running (disk full)"),
        (DiskState.HOST_FULL, "running (stands still: no space left on the host)"),
    ],
)
def test_a_full_disk_is_told(
    make_sandbox: MakeSandbox, where: Paths, state: DiskState, cell: str
) -> None:
    make_sandbox("box")
    one = running(where, state)
    assert views.cells(one)[2] == cell
    told = views.row(one).get("disk_state")
    assert told == (None if state is DiskState.OK else state.value)
