# SPDX-License-Identifier: Apache-2.0
"""Runs all checks at once, each within its own time: one that hangs is reported and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sbx.cli.checks.model import Check, Finding, failed
from sbx.errors import SbxError
from sbx.store.paths import Paths


@dataclass(slots=True)
class _Running:
    check: Check
    thread: threading.Thread
    found: list[Finding] = field(default_factory=list[Finding])


def run_checks(checks: Sequence[Check], where: Paths) -> list[tuple[Check, Finding]]:
    """The findings, in the order of the checks."""
    began = time.monotonic()
    running = [_begin(check, where) for check in checks]
    return [(one.check, _finding(one, began)) for one in running]


def _begin(check: Check, where: Paths) -> _Running:
    found: list[Finding] = []

    def work() -> None:
        found.append(_guarded(check, where))

    # A daemon thread: one that never returns must not keep the program from ending.
    thread = threading.Thread(target=work, name=f"check-{check.name}", daemon=True)
    thread.start()
    return _Running(check=check, thread=thread, found=found)


def _guarded(check: Check, where: Paths) -> Finding:
    try:
        return check.find(where)
    except SbxError as error:
        return failed(error.message, detail=error.details or "", hint=error.hint or "")
    except Exception as error:  # noqa: BLE001 - a defect in one check must not hide the others' findings
        return failed(f"the check itself failed: {type(error).__name__}: {error}")


def _finding(one: _Running, began: float) -> Finding:
    one.thread.join(max(began + one.check.timeout_s - time.monotonic(), 0))
    if one.found:
        return one.found[0]
    return failed(
        f"no answer within {one.check.timeout_s:g} s",
        hint="Look for a process or a file system that hangs, then run: sbx diagnose",
    )
