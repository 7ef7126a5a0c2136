# SPDX-License-Identifier: Apache-2.0
"""The host's disk is full: the sandbox stands still, says so, and goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.installation import Installation

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")


@pytest.fixture(name="small")
def _small(sbx: Installation) -> Iterator[Path]:
    """The installation's state is on a file system with little space."""
    folder = sbx.home / "state"
    folder.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=700", "x", folder], check=True)
    try:
        yield folder
    finally:
        sbx.call("rm", "--all", "-f")
        subprocess.run(["umount", folder], check=True)


def events(sbx: Installation) -> list[str]:
    """What has happened to the sandbox."""
    lines = (sbx.folder("full") / "events.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_a_full_disk_stops_the_guest_until_there_is_space(sbx: Installation, small: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(64 << 20))
    sbx.ok("create", "--name", "full", "-q", "--memory", "1g", "shell")
    write = "head -c 120M /dev/zero > ~/big && sync && echo written"
    with sbx.popen("exec", "full", "sh", "-c", write) as writing:
        end = time.monotonic() + 60
        while "disk-full" not in events(sbx):
            assert time.monotonic() < end, "the disk did not fill"
            time.sleep(0.1)
        refused = sbx.call("exec", "full", "true")
        assert refused.returncode == 1
        assert b"stands still until there is some" in refused.err
        assert b"full" in sbx.ok("ls").out
        ballast.unlink()
        out, err = writing.communicate(timeout=60)
    assert (out, writing.returncode) == (b"written\n", 0), err
    assert sbx.inside("full", "wc", "-c", "/home/agent/big").ok().text.startswith("125829120")


def test_too_little_space_refuses_a_start_in_one_sentence(sbx: Installation, small: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(120 << 20))
    refused = sbx.call("create", "--name", "full", "-q", "shell")
    assert refused.returncode == 1
    assert b"no space left in" in refused.err
    ballast.unlink()
    assert sbx.inside("full", "echo", "works").ok().text == "works\n"
