# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment: a sentence, nothing left behind, and the data disk survives."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from sbx.supervisor.readiness import ALL
from tests.kit.installation import Family, Installation

NAME = "crash"


def record(sbx: Installation) -> dict[str, object]:
    """The sandbox's record as it stands on disk."""
    text = (sbx.folder(NAME) / "record.json").read_text()
    return cast("dict[str, object]", json.loads(text))


def supervisor(sbx: Installation) -> int:
    """The pid of the sandbox's supervisor."""
    pid = record(sbx)["supervisor_pid"]
    assert isinstance(pid, int)
    return pid


def child_of(pid: int, program: str) -> int:
    """The descendant of a process that runs `program` itself (not the jail around it)."""
    found = [p for p in Family.of(str(pid)).born if comm(p).startswith(program)] or [
        p for p in descendants(pid) if comm(p).startswith(program)
    ]
    assert found, f"no {program} below {pid}"
    return found[0]


def comm(pid: int) -> str:
    """The name of a process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for something that another process does; a test's own deadline, not the product's."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def make(sbx: Installation) -> None:
    """A running sandbox with something on its disk."""
    sbx.ok("create", "--name", NAME, "-q", "--memory", "1g", "shell")
    sbx.ok("run", "--name", NAME, "-d")
    sbx.inside(NAME, "sh", "-c", "echo kept > ~/kept; sync").ok()


def assert_gone(family: Family) -> None:
    until(lambda: not family.survivors(), timeout_s=20)


def test_a_killed_supervisor_leaves_nothing_and_the_disk_survives(sbx: Installation) -> None:
    make(sbx)
    pid = supervisor(sbx)
    family = Family.of(str(sbx.home))
    os.kill(pid, signal.SIGKILL)
    assert_gone(family)
    assert b"failed" in sbx.ok("ls").out
    assert "killed" in json.dumps(sbx.inspect(NAME))
    assert sbx.inside(NAME, "cat", "/home/agent/kept").ok().text == "kept\n"


def test_a_killed_machine_is_told_and_starts_again(sbx: Installation) -> None:
    make(sbx)
    family = Family.of(str(sbx.home))
    os.kill(child_of(supervisor(sbx), "qemu-system"), signal.SIGKILL)
    assert_gone(family)
    assert "virtual machine ended" in json.dumps(sbx.inspect(NAME))
    assert sbx.inside(NAME, "cat", "/home/agent/kept").ok().text == "kept\n"


@pytest.mark.parametrize("victim", ["qemu-system", "supervisor"])
def test_an_open_session_ends_with_a_sentence(sbx: Installation, victim: str) -> None:
    make(sbx)
    with sbx.popen("exec", NAME, "sh", "-c", "echo up; sleep 1000") as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"up\n"
        pid = supervisor(sbx)
        os.kill(pid if victim == "supervisor" else child_of(pid, victim), signal.SIGKILL)
        _, err = session.communicate(timeout=60)
    assert session.returncode == 1
    assert b"was lost" in err


def test_the_end_of_the_machine_is_told_not_that_of_its_file_server(
    sbx: Installation, project: Path
) -> None:
    sbx.ok("create", "--name", NAME, "-q", "--memory", "1g", "shell", str(project))
    os.kill(child_of(supervisor(sbx), "qemu-system"), signal.SIGKILL)
    until(lambda: b"failed" in sbx.ok("ls").out)
    assert "virtual machine ended: killed" in json.dumps(sbx.inspect(NAME))


def test_a_silent_guest_can_be_listed_stopped_and_removed(sbx: Installation) -> None:
    make(sbx)
    family = Family.of(str(sbx.home))
    os.kill(child_of(supervisor(sbx), "qemu-system"), signal.SIGSTOP)
    assert NAME.encode() in sbx.ok("ls").out
    sbx.ok("inspect", NAME)
    sbx.ok("stop", NAME)
    assert_gone(family)


@pytest.mark.parametrize("phase", [r.name for r in ALL])
def test_a_supervisor_killed_in_any_phase_of_a_start(sbx: Installation, phase: str) -> None:
    sbx.ok("create", "--name", NAME, "-q", "--memory", "512m", "shell")
    sbx.ok("stop", NAME)
    (sbx.folder(NAME) / "events.jsonl").unlink()
    with sbx.popen("run", "--name", NAME, "-d") as starting:
        until(lambda: reached(sbx, phase) or starting.poll() is not None)
        family = Family.of(str(sbx.home))
        with contextlib.suppress(ProcessLookupError, AssertionError):
            os.kill(supervisor(sbx), signal.SIGKILL)
        _, err = starting.communicate(timeout=100)
    if starting.returncode != 0:  # it may have been too fast for us, which is no failure of its own
        assert err.startswith(b"ERROR: ") or b"\nERROR: " in err, err
    sbx.call("stop", NAME)
    assert_gone(family)
    assert sbx.inside(NAME, "echo", "works").ok().text == "works\n"


def reached(sbx: Installation, phase: str) -> bool:
    """Whether a start has got to a phase: the one before it is over."""
    path = sbx.folder(NAME) / "events.jsonl"
    if not path.exists():
        return False
    events = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    order = [r.name for r in ALL]
    before = order[order.index(phase) - 1] if phase != order[0] else None
    if before is None:
        return any(e["event"] == "started" for e in events)
    return any(e.get("phase") == before for e in events)


def test_a_supervisor_killed_while_it_stops(sbx: Installation) -> None:
    make(sbx)
    family = Family.of(str(sbx.home))
    pid = supervisor(sbx)
    with sbx.popen("stop", NAME) as stopping:
        until(lambda: '"stopping"' in (sbx.folder(NAME) / "events.jsonl").read_text())
        os.kill(pid, signal.SIGKILL)
        stopping.communicate(timeout=100)
    assert_gone(family)
    assert sbx.inside(NAME, "cat", "/home/agent/kept").ok().text == "kept\n"


def test_an_interrupted_create_leaves_nothing(sbx: Installation) -> None:
    with sbx.popen("create", "--name", NAME, "--memory", "1g", "shell") as creating:
        until((sbx.folder(NAME) / "events.jsonl").exists)
        creating.send_signal(signal.SIGINT)
        creating.communicate(timeout=100)
    assert creating.returncode == 130
    assert sbx.names() == []


def test_a_killed_create_leaves_a_sandbox_that_works_or_can_be_removed(
    sbx: Installation,
) -> None:
    with sbx.popen("create", "--name", NAME, "--memory", "1g", "shell") as creating:
        until((sbx.folder(NAME) / "events.jsonl").exists)
        creating.kill()
        creating.communicate(timeout=100)
    assert sbx.inside(NAME, "echo", "works").ok().text == "works\n"
    sbx.ok("rm", "-f", NAME)
    assert sbx.names() == []


@pytest.mark.timeout(600)  # each boots a machine of its own, two at a time
def test_twenty_creates_at_once_all_come_up(sbx: Installation) -> None:
    def create(number: int) -> bytes:
        name = f"many-{number}"
        sbx.call("create", "--name", name, "-q", "--memory", "512m", "shell", timeout_s=500).ok()
        return sbx.inside(name, "hostname").ok().out

    with ThreadPoolExecutor(20) as pool:
        names = sorted(pool.map(create, range(20)))
    assert names == sorted(f"many-{n}\n".encode() for n in range(20))
