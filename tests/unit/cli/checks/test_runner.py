# SPDX-License-Identifier: Apache-2.0
"""Checks run at once, each within its own time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sbx.cli.checks.model import Check, Finding, Outcome, passed
from sbx.cli.checks.runner import run_checks
from sbx.errors import HostError
from sbx.store.paths import Paths


@pytest.fixture(name="nowhere")
def _nowhere(tmp_path: Path) -> Paths:
    return Paths(state=tmp_path, config=tmp_path, cache=tmp_path, runtime=tmp_path)


def test_one_that_hangs_is_reported_and_holds_up_nothing(nowhere: Paths) -> None:
    release = threading.Event()

    def hang(_where: Paths) -> Finding:
        release.wait()
        return passed("too late")

    checks = [
        Check(name="hangs", section="s", find=hang, timeout_s=0.05),
        Check(name="well", section="s", find=lambda _where: passed("fine")),
    ]
    first, second = (finding for _check, finding in run_checks(checks, nowhere))
    release.set()
    assert (first.outcome, first.message) == (Outcome.FAIL, "no answer within 0.05 s")
    assert first.hint
    assert (second.outcome, second.message) == (Outcome.PASS, "fine")


def test_errors_become_findings(nowhere: Paths) -> None:
    def known(_where: Paths) -> Finding:
        raise HostError("no tun", hint="Run: modprobe tun", details="errno 2")

    def unknown(_where: Paths) -> Finding:
        raise ZeroDivisionError("oh")

    checks = [Check(name=f.__name__, section="s", find=f) for f in (known, unknown)]
    (_, first), (_, second) = run_checks(checks, nowhere)
    assert (first.message, first.hint, first.detail) == ("no tun", "Run: modprobe tun", "errno 2")
    assert second.message == "the check itself failed: ZeroDivisionError: oh"


def test_checks_run_at_the_same_time(nowhere: Paths) -> None:
    """Two that wait for each other only end when both run."""
    meeting = threading.Barrier(2)

    def meet(_where: Paths) -> Finding:
        meeting.wait(4)
        return passed("met")

    checks = [Check(name=name, section="s", find=meet) for name in ("a", "b")]
    assert [finding.message for _check, finding in run_checks(checks, nowhere)] == ["met", "met"]
