# SPDX-License-Identifier: Apache-2.0
"""What an idle sandbox holds and uses: memory, processor, disk; and what it gives back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from bench.frame.processes import cpu_seconds, held, processes_of
from bench.frame.recipe import started
from bench.frame.rows import Finding, Row
from bench.frame.suite import Bench, create
from sbx.system.files import allocated_bytes
from tests.kit.installation import Installation

NAME = "bench"
_SETTLE_S = 5.0
_FILL_MB = 400
# One buffer of that size: it takes memory, ends, and so frees it.
_FILL = ("dd", "if=/dev/zero", "of=/dev/null", f"bs={_FILL_MB}M", "count=1", "status=none")


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `supervisor`, `overhead`, `idle`, `disk`, `given back`."""
    with bench.installation() as installation:
        before = _disk_bytes(installation.home)
        create(installation, NAME, "--memory", "1g")
        yield Row(
            name="memory/disk", unit="MB", budget=5.0,
            ours=((_disk_bytes(installation.home) - before) / 1e6,),
            note="everything that a new sandbox put on the host's disk",
        )  # fmt: skip
        installation.ok("exec", NAME, "true")
        time.sleep(_SETTLE_S)
        yield from _held(bench, installation)
        yield from _idle(bench, installation)
        yield from _given_back(installation)


def _disk_bytes(folder: Path) -> int:
    return sum(allocated_bytes(path) for path in folder.rglob("*") if path.is_file())


def _held(bench: Bench, installation: Installation) -> Iterator[Finding]:
    found = processes_of(installation)
    for name in sorted(set(found.values())):
        part = held(pid for pid, program in found.items() if program == name)
        bench.say(f"{name}: {part.own_mb:.1f} MB and {part.guest_mb:.1f} MB of the guest")
    supervisor = held(pid for pid, program in found.items() if program == "sbx.supervisor")
    whole = held(found)
    bare = asyncio.run(_bare(bench, installation.home))
    yield Row(
        name="memory/supervisor", unit="MB", ours=(supervisor.own_mb,), budget=45.0,
        note="proportional set size",
    )  # fmt: skip
    yield Row(
        name="memory/overhead", unit="MB", ours=(whole.own_mb - bare,), budget=80.0,
        note=f"all processes without the guest's memory ({whole.own_mb:.0f} MB), less a bare QEMU "
        f"({bare:.0f} MB); the guest had touched {whole.guest_mb:.0f} MB",
    )  # fmt: skip


async def _bare(bench: Bench, folder: Path) -> float:
    """The QEMU of the bare recipe, without the guest's memory."""
    async with started(bench, folder) as up:
        await asyncio.sleep(_SETTLE_S)
        return held((up.qemu_pid,)).own_mb


def _idle(bench: Bench, installation: Installation) -> Iterator[Finding]:
    pids = tuple(processes_of(installation))
    shares: list[float] = []
    for _ in range(bench.runs(2, 4)):
        before, began = cpu_seconds(pids), time.perf_counter()
        time.sleep(10.0)
        shares.append(100 * (cpu_seconds(pids) - before) / (time.perf_counter() - began))
    yield Row(
        name="memory/idle", unit="% of a core", ours=tuple(shares), budget=1.0,
        note="user and system time of all its processes, over 10 s each",
    )  # fmt: skip


def _given_back(installation: Installation) -> Iterator[Finding]:
    """How much of the memory that a command used and freed is the host's again."""
    pids = tuple(processes_of(installation))
    before = held(pids).guest_mb
    installation.ok("exec", NAME, *_FILL)
    peak = held(pids).guest_mb
    time.sleep(2 * _SETTLE_S)
    after = held(pids).guest_mb
    yield Row(
        name="memory/given-back", unit="MB", ours=(after - before,), limit=(peak - before,),
        limit_name="right after it", budget=0.5,
        note=f"guest memory above that before a command of {_FILL_MB} MB, 10 s after its end",
    )  # fmt: skip
