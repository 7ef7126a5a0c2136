# SPDX-License-Identifier: Apache-2.0
"""Memory that a sandbox has used and freed is the host's again (free page reporting)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kit.installation import Family, Installation

pytestmark = pytest.mark.timeout(240)

NAME = "memory"
FILL_MB = 300
DEADLINE_S = 120.0


def guest_mb(machine: int) -> float:
    """What the guest's memory takes of the host, in MB: the files of QEMU that nobody else sees."""
    sizes: dict[int, int] = {}
    for fd in Path(f"/proc/{machine}/fd").iterdir():
        if str(fd.readlink()).startswith("/memfd:"):
            facts = fd.stat()
            sizes[facts.st_ino] = facts.st_blocks * 512
    return sum(sizes.values()) / 1e6


def machine_of(sbx: Installation) -> int:
    """The process of the one machine."""
    family = Family.of(str(sbx.home)).born
    (pid,) = (p for p in family if Path(f"/proc/{p}/comm").read_text().startswith("qemu-system"))
    return pid


def test_freed_memory_goes_back_to_the_host(sbx: Installation) -> None:
    sbx.ok("create", "-q", "--name", NAME, "--memory", "1g", "shell")
    machine = machine_of(sbx)
    before = guest_mb(machine)
    holder = f"head -c {FILL_MB}M /dev/zero >/dev/shm/full && echo filled && read -r _"
    with sbx.popen("exec", NAME, "sh", "-c", holder) as filling:
        assert filling.stdin is not None
        assert filling.stdout is not None
        assert filling.stdout.readline() == b"filled\n"
        assert guest_mb(machine) > before + 0.8 * FILL_MB
        sbx.inside(NAME, "rm", "/dev/shm/full").ok()
        filling.communicate(b"\n", timeout=60)
    end = time.monotonic() + DEADLINE_S
    while guest_mb(machine) > before + FILL_MB / 2:
        assert time.monotonic() < end, "the freed memory stayed with the machine"
        time.sleep(0.2)
