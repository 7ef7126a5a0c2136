# SPDX-License-Identifier: Apache-2.0
"""Child processes: what they get, what comes back, and what a failure says."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.system.process import CommandError, base_env, popen, run, run_lines, spawn


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_comes_back_apart() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr)"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")


def test_standard_input_is_closed_unless_given() -> None:
    code = "import sys; print(len(sys.stdin.read()))"
    assert run(python(code)).stdout == b"0\n"
    assert run(python(code), stdin=b"four").stdout == b"4\n"


def test_a_failure_tells_status_command_and_the_end_of_the_output() -> None:
    with pytest.raises(CommandError) as caught:
        run(python("import sys; sys.exit('the reason')"))
    assert caught.value.returncode == 1
    assert "failed with status 1" in caught.value.message
    assert caught.value.details is not None
    assert "the reason" in caught.value.details
    assert sys.executable in caught.value.details


def test_a_signal_is_told_as_one() -> None:
    with pytest.raises(CommandError, match="signal 9"):
        run(python("import os; os.kill(os.getpid(), 9)"))


def test_unchecked_failures_are_returned() -> None:
    assert run(python("raise SystemExit(7)"), check=False).returncode == 7


def test_a_missing_program_is_the_hosts_fault() -> None:
    with pytest.raises(HostError, match="program not found: `no-such-program`"):
        run(["no-such-program"])
    with pytest.raises(HostError):
        popen(["no-such-program"])
    with pytest.raises(HostError):
        run_lines(["no-such-program"], print)
    with pytest.raises(HostError):
        asyncio.run(_spawn(["no-such-program"]))


async def _spawn(args: list[str]) -> int:
    return await (await spawn(args)).wait()


def test_a_child_that_takes_too_long_is_killed() -> None:
    with pytest.raises(CommandError) as caught:
        run(python("import time; time.sleep(60)"), timeout_s=0.1)
    assert caught.value.details is not None
    assert "no end after 0.1 s" in caught.value.details


def test_the_environment_is_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    env = base_env()
    assert "SECRET_TOKEN" not in env
    assert "/usr/sbin" in env["PATH"].split(":")
    assert run(python("import os; print('SECRET_TOKEN' in os.environ)")).stdout == b"False\n"


def test_lines_arrive_as_they_come_from_both_outputs() -> None:
    seen: list[str] = []
    code = "import sys; print('a', flush=True); print('b', file=sys.stderr, flush=True)"
    run_lines(python(code), seen.append)
    assert seen == ["a", "b"]


def test_lines_of_a_redirected_child_are_those_of_standard_error(tmp_path: Path) -> None:
    seen: list[str] = []
    with (tmp_path / "out").open("wb") as out:
        code = "import sys; print('a'); print('b', file=sys.stderr)"
        run_lines(python(code), seen.append, stdout=out)
    assert seen == ["b"]
    assert (tmp_path / "out").read_text() == "a\n"


def test_the_child_of_an_interrupted_reader_is_gone() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        run_lines(python(code), interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_failing_child_of_run_lines_shows_its_last_lines() -> None:
    with pytest.raises(CommandError) as caught:
        run_lines(python("print('last words'); raise SystemExit(3)"), lambda _line: None)
    assert caught.value.details is not None
    assert "last words" in caught.value.details
