# SPDX-License-Identifier: Apache-2.0
"""Many sandboxes at once: what each takes, and whether the next one and the old ones are slower."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.cli import python_pass
from bench.frame.processes import held, processes_of
from bench.frame.recipe import started
from bench.frame.rows import Curve, Finding, Row
from bench.frame.suite import Bench, create, stopwatch, timed
from tests.kit.installation import Installation

_SAMPLES = 5
_SETTLE_S = 5.0
_MEMORY = "512m"


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `footprint`, `exec`, `ls`; curves over the number of running sandboxes."""
    steps = (1, 2, 4, 6) if bench.quick else (1, 5, 10, 20, 30, 40, 50)
    starts: list[tuple[float, ...]] = []
    execs: list[tuple[float, ...]] = []
    with bench.installation() as installation:
        recipe_mb = asyncio.run(_recipe(bench, installation.home))
        up = 0
        for step in steps:
            taken: list[float] = []
            while up < step:
                up += 1
                with stopwatch(taken):
                    create(installation, _name(up), "--memory", _MEMORY)
                    installation.ok("exec", _name(up), "echo", "up")
            starts.append(tuple(taken[-_SAMPLES:]))
            execs.append(tuple(_exec(installation, n, up) for n in range(_SAMPLES)))
            bench.say(f"{up} running: start {min(taken):.2f} s, exec {min(execs[-1]):.2f} s")
        yield from _rows(installation, up, recipe_mb, execs)
        _remove(installation, up)
    yield Curve(
        name="density/start", x_name="sandboxes running", y_name="seconds to the first output",
        x=tuple(map(float, steps)), series={"create": tuple(starts)}, expected="Flat is the aim.",
    )  # fmt: skip
    yield Curve(
        name="density/exec", x_name="sandboxes running", y_name="seconds of `sbx exec`",
        x=tuple(map(float, steps)), series={"exec": tuple(execs)},
        expected="Flat, plus what the idle machines take of the processors.",
    )  # fmt: skip


def _remove(installation: Installation, up: int) -> None:
    """A few at a time: all of them in one command would take minutes."""
    with ThreadPoolExecutor(4) as pool:
        names = (_name(number) for number in range(1, up + 1))
        for _ in pool.map(lambda name: installation.ok("rm", "-f", name), names):
            pass


def _rows(
    installation: Installation, up: int, recipe_mb: float, execs: list[tuple[float, ...]]
) -> Iterator[Finding]:
    pids = processes_of(installation)
    whole = held(pids)
    each_mb = (whole.guest_mb + whole.own_mb) / up
    yield Row(
        name="density/footprint", unit="per GB", more_is_better=True, budget=0.6,
        ours=(1000 / each_mb,), limit=(1000 / recipe_mb,), limit_name="bare recipe",
        note=f"idle sandboxes: {each_mb:.0f} MB each with {up} of them; a bare machine and "
        f"its file server {recipe_mb:.0f} MB, so {24_000 / each_mb:.0f} fit into 24 GB",
    )  # fmt: skip
    yield Row(
        name="density/exec", unit="s", ours=execs[-1], limit=execs[0], budget=3.0,
        limit_name="with 1 running", note=f"with {up} running",
    )  # fmt: skip
    pairs = [(timed(installation, "ls"), python_pass(installation)) for _ in range(2 * _SAMPLES)]
    ours, limit = zip(*pairs, strict=True)
    yield Row(
        name="density/ls", unit="s", ours=ours, limit=limit, limit_name="python -c pass",
        budget=10.0, note=f"`sbx ls` with {up} running",
    )  # fmt: skip


async def _recipe(bench: Bench, folder: Path) -> float:
    """What the bare recipe's machine and file server take."""
    async with started(bench, folder) as up:
        await asyncio.sleep(_SETTLE_S)
        found = held((up.qemu_pid, up.share_pid))
        return found.guest_mb + found.own_mb


def _exec(installation: Installation, sample: int, up: int) -> float:
    """Another sandbox each time."""
    return timed(installation, "exec", _name(1 + sample * up // _SAMPLES), "true")


def _name(number: int) -> str:
    return f"bench-{number}"
