# SPDX-License-Identifier: Apache-2.0
"""The disk of a sandbox: full, larger, and given back, in a real machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.installation import Installation

pytestmark = pytest.mark.timeout(240)

BOX = "disk"
GIB = 1 << 30


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def size_inside(sbx: Installation) -> int:
    """What `df` says of the whole, in bytes."""
    done = sbx.inside(BOX, "df", "-B1", "--output=size", "/").ok()
    return int(done.text.split()[1])


def test_a_disk_gets_full_grows_and_gives_back(sbx: Installation) -> None:
    sbx.ok("create", "--name", BOX, "-q", "--memory", "1g", "--disk", "1g", "shell")
    image = sbx.folder(BOX) / "data.img"

    def told() -> str:
        return str(json.loads(sbx.ok("ls", "--json").out)[0].get("disk_state", "ok"))

    assert 0.9 * GIB < size_inside(sbx) < GIB
    # Reserved blocks fill the disk without a byte on the host.
    more = "while fallocate -l $n ~/$(date +%N); do :; done"
    fill = f"fallocate -l 900M ~/a; for n in 4M 256k 4k; do {more}; done"
    full = sbx.inside(BOX, "bash", "-c", f"({fill}) 2>&1; echo more >~/more")
    assert b"No space left on device" in full.out + full.err
    until(lambda: told() == "full", "nobody told that the disk is full")
    assert "running (disk full)" in sbx.ok("ls").text
    assert f"full: sbx disk grow {BOX} SIZE makes room" in sbx.ok("inspect", BOX).text

    assert "5 GiB now, 1 GiB before" in sbx.ok("disk", "grow", BOX, "5g").text
    assert 4.7 * GIB < size_inside(sbx) < 5 * GIB
    until(lambda: told() == "ok", "nobody told that there is room")
    assert b"cannot become smaller" in sbx.call("disk", "grow", BOX, "2g").err
    sbx.inside(BOX, "sh", "-c", "echo more >~/more && rm ~/a && sync").ok()

    before = allocated(image)
    sbx.inside(BOX, "sh", "-c", "head -c 96M /dev/urandom >~/big && sync").ok()
    assert allocated(image) > before + (90 << 20)
    sbx.inside(BOX, "sh", "-c", "rm ~/big && sync").ok()
    until(lambda: allocated(image) < before + (20 << 20), "nothing was given back")

    sbx.ok("stop", BOX)
    assert "6 GiB now, 5 GiB before" in sbx.ok("disk", "grow", BOX, "6g").text
    assert 5.7 * GIB < size_inside(sbx) < 6 * GIB
    assert sbx.inside(BOX, "cat", "/home/agent/more").ok().text == "more\n"
    resources = sbx.inspect(BOX)["resources"]
    assert isinstance(resources, dict)
    assert resources["disk_bytes"] == 6 * GIB


def allocated(image: Path) -> int:
    """What a file really takes."""
    return image.stat().st_blocks * 512
