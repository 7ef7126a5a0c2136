# SPDX-License-Identifier: Apache-2.0
"""How an end is told from QEMU's last event, its status and the console."""

from __future__ import annotations

import pytest

from sbx.vm.outcome import EndReason, MachineEnd, describe_exit, judge_end

PANIC = "[ 1.0] Kernel panic - not syncing: VFS"


@pytest.mark.parametrize(
    ("shutdown", "status", "console", "reason"),
    [
        ("guest-shutdown", 0, "", EndReason.POWERED_OFF),
        ("guest-shutdown", 0, PANIC, EndReason.POWERED_OFF),
        ("guest-reset", 0, "", EndReason.RESET),
        ("guest-reset", 0, PANIC, EndReason.PANICKED),
        ("guest-panic", 0, "", EndReason.PANICKED),
        ("host-qmp-quit", 0, "", EndReason.QUIT),
        ("host-signal", 0, "", EndReason.TERMINATED),
        (None, 137, "", EndReason.KILLED),
        (None, -9, "", EndReason.KILLED),
        (None, 1, PANIC, EndReason.CRASHED),
        ("something new", 0, "", EndReason.CRASHED),
    ],
)
def test_reasons(shutdown: str | None, status: int, console: str, reason: EndReason) -> None:
    assert judge_end(shutdown, status, console) is reason


def test_words() -> None:
    assert describe_exit(137) == "signal 9"
    assert describe_exit(-11) == "signal 11"
    assert describe_exit(2) == "status 2"
    end = MachineEnd(reason=EndReason.CRASHED, exit_status=2, console="", stderr="")
    assert str(end) == "crashed (status 2)"
