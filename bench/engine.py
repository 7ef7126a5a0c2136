# SPDX-License-Identifier: Apache-2.0
"""The Docker engine inside: what starting it costs, when it is used first or ahead of that."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.frame.processes import cpu_seconds, held, processes_of
from bench.frame.rows import Finding, Row
from bench.frame.suite import Bench, create, timed
from tests.kit.installation import Installation

_SETTLE_S = 10.0
_IDLE_S = 10.0
_TRIES = 3  # of a command beside a starting engine
# Connects and leaves: the engine starts, and nobody waits for it.
_TOUCH = "import socket; socket.socket(socket.AF_UNIX).connect('/run/docker.sock')"
_IMAGE = (
    "mkdir /tmp/i && cd /tmp/i && cp --parents -L /bin/true $(ldd /bin/true | grep -o '/[^ ]*') . "
    "&& tar -c . | docker import - true:1"
)


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `first use`, `processor`, `beside`, `container`, `held`, `idle`."""
    first: list[float] = []
    again: list[float] = []
    spent: list[float] = []
    for number in range(bench.runs(1, 5)):
        with bench.installation() as installation:
            pids = _up(installation, f"first-{number}")
            before = cpu_seconds(pids)
            first.append(_use(installation, f"first-{number}"))
            spent.append(cpu_seconds(pids) - before)
            again += [_use(installation, f"first-{number}") for _ in range(2)]
    yield Row(
        name="engine/first-use", unit="s", ours=tuple(first), limit=tuple(again),
        limit_name="once more", note="`docker version` in a new sandbox, whole process",
    )  # fmt: skip
    yield Row(
        name="engine/processor", unit="s", ours=tuple(spent),
        note="user and system time of all its processes for that",
    )  # fmt: skip
    with bench.installation() as installation:
        yield from _beside(installation)
    with bench.installation() as installation:
        yield from _held(installation)


def _up(installation: Installation, name: str) -> tuple[int, ...]:
    create(installation, name, "--memory", "2g")
    installation.ok("exec", name, "true")
    return tuple(processes_of(installation))


def _use(installation: Installation, name: str) -> float:
    return timed(installation, "exec", name, "docker", "version")


def _beside(installation: Installation) -> Iterator[Finding]:
    """What a user would feel of an engine that starts in the background."""
    _up(installation, "beside")
    alone = [timed(installation, "exec", "beside", "node", "-e", "0") for _ in range(_TRIES)]
    installation.ok("exec", "beside", "python3", "-c", _TOUCH)
    busy = [timed(installation, "exec", "beside", "node", "-e", "0") for _ in range(_TRIES)]
    yield Row(
        name="engine/beside", unit="s", ours=tuple(busy), limit=tuple(alone),
        limit_name="the same without", note="`node -e 0` while the engine starts",
    )  # fmt: skip


def _held(installation: Installation) -> Iterator[Finding]:
    pids = _up(installation, "held")
    time.sleep(_SETTLE_S)
    before, idle_before = held(pids).guest_mb, _idle(pids)
    _use(installation, "held")
    time.sleep(_SETTLE_S)
    yield Row(
        name="engine/held", unit="MB", ours=(held(pids).guest_mb,), limit=(before,),
        limit_name="before its start", note="guest memory on the host, no container",
    )  # fmt: skip
    yield Row(
        name="engine/idle", unit="% of a core", ours=(_idle(pids),), limit=(idle_before,),
        limit_name="before its start", note="user and system time, no container",
    )  # fmt: skip
    installation.ok("exec", "held", "sh", "-c", _IMAGE)
    runs = [
        timed(installation, "exec", "held", "docker", "run", "--rm", "true:1", "/bin/true")
        for _ in range(_TRIES)
    ]
    yield Row(
        name="engine/container", unit="s", ours=tuple(runs),
        note="`docker run --rm` of an image with `true` alone, whole process",
    )  # fmt: skip


def _idle(pids: tuple[int, ...]) -> float:
    before, began = cpu_seconds(pids), time.perf_counter()
    time.sleep(_IDLE_S)
    return 100 * (cpu_seconds(pids) - before) / (time.perf_counter() - began)
