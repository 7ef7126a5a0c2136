# SPDX-License-Identifier: Apache-2.0
"""What a command takes, from the start of its process to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.frame.rows import Finding, Row, in_turns
from bench.frame.suite import Bench, create, timed
from sbx.agent.session import ExecRequest, Session, Streams
from sbx.lifecycle.session import open_session
from sbx.store.paths import Paths
from tests.kit.installation import Installation

NAME = "bench"
_PROBES = 30
# One line in, a fork and an execve of the guest's own, one line out.
_LOOP = "while read -r line; do /bin/true; echo; done"


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `help`, `version`, `exec`, `session`."""
    with bench.installation() as installation:
        found = in_turns(
            bench.runs(10, 40),
            {
                "python": lambda: python_pass(installation),
                "help": lambda: timed(installation, "--help"),
                "version": lambda: timed(installation, "version"),
            },
        )
        for name in ("help", "version"):
            yield Row(
                name=f"cli/{name}", unit="s", ours=found[name], limit=found["python"],
                limit_name="python -c pass", budget=6.0,
            )  # fmt: skip
        yield from _exec(bench, installation)


def python_pass(installation: Installation) -> float:
    """The least that a Python program takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], env=installation.env(), check=True)
    return time.perf_counter() - began


def _exec(bench: Bench, installation: Installation) -> Iterator[Finding]:
    create(installation, NAME, "--memory", "1g")
    installation.ok("exec", NAME, "true")
    found = in_turns(
        bench.runs(10, 40),
        {
            "python": lambda: python_pass(installation),
            "round trip": lambda: round_trip(installation),
            "exec": lambda: timed(installation, "exec", NAME, "true"),
            "session": lambda: _session(installation),
        },
    )
    least = tuple(map(sum, zip(found["python"], found["round trip"], strict=True)))
    yield Row(
        name="cli/exec", unit="s", ours=found["exec"], limit=least,
        limit_name="python -c pass + round trip + fork/exec in the guest", budget=3.0,
        note="`sbx exec S true`, whole process",
    )  # fmt: skip
    yield Row(
        name="cli/session", unit="s", ours=found["session"], limit=found["round trip"],
        limit_name="round trip + fork/exec in the guest", budget=1.5,
        note="the same command from a process that is there, in a session of its own",
    )  # fmt: skip


def round_trip(installation: Installation) -> float:
    """Seconds of a line to the guest, a command there, and a line back; the least of a few."""
    with installation.popen("exec", "-i", NAME, "sh", "-c", _LOOP) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        taken: list[float] = []
        for _ in range(_PROBES):
            began = time.perf_counter()
            shell.stdin.write(b"\n")
            shell.stdin.flush()
            assert shell.stdout.readline() == b"\n"
            taken.append(time.perf_counter() - began)
        shell.stdin.close()
        shell.wait()
    return sorted(taken)[len(taken) // 2]


def _session(installation: Installation) -> float:
    home = installation.home
    where = Paths(
        state=installation.state / "opensbx",
        config=home / "config",
        cache=installation.cache / "opensbx",
        runtime=installation.runtime / "opensbx",
    )
    with Path(os.devnull).open("r+b", buffering=0) as null:
        streams = Streams(stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
        began = time.perf_counter()
        with open_session(where, NAME) as lease:
            ended = Session(lease.sock).exec(ExecRequest(argv=("true",)), streams)
        taken = time.perf_counter() - began
    assert ended.exit_status == 0, ended
    return taken
