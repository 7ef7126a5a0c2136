# SPDX-License-Identifier: Apache-2.0
"""How a machine ended, told from what QEMU said last, its status and the console."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sbx.system.process import describe_status

_PANIC = "Kernel panic - not syncing"


class EndReason(StrEnum):
    """Why there is no machine any more."""

    POWERED_OFF = "powered off"  # by the guest
    RESET = "reset"  # by the guest; a machine that resets ends
    PANICKED = "kernel panic"
    QUIT = "quit"  # we asked QEMU to end
    TERMINATED = "terminated"  # somebody sent QEMU a SIGTERM, SIGINT or SIGHUP
    KILLED = (
        "killed"  # SIGKILL, also by the host's out-of-memory killer, or QEMU crashed by a signal
    )
    CRASHED = "crashed"  # QEMU gave up


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEnd:
    """The end of a machine and the evidence."""

    reason: EndReason
    exit_status: (
        int  # of the jail: 128 + n if QEMU ended by signal n; negative: the jail was killed
    )
    console: str  # the end of the serial console, terminal control taken out
    stderr: str  # the end of what QEMU said

    def __str__(self) -> str:
        if self.reason in {EndReason.KILLED, EndReason.CRASHED}:
            return f"{self.reason} ({describe_exit(self.exit_status)})"
        return self.reason.value


def describe_exit(status: int) -> str:
    """`status 3` or `signal 9`: bubblewrap reports a signal that ended its program as 128 + n."""
    return describe_status(128 - status if status > 128 else status)


def judge_end(shutdown: str | None, exit_status: int, console: str) -> EndReason:
    """The reason, from the SHUTDOWN event's cause (None: there was none), status and console."""
    match shutdown:
        case "guest-shutdown":
            return EndReason.POWERED_OFF
        case "guest-panic":
            return EndReason.PANICKED
        case "guest-reset":
            # The kernel resets the machine when it panics, and tells why on the console only. The
            # guest writes that console, so this word describes and decides nothing.
            return EndReason.PANICKED if _PANIC in console else EndReason.RESET
        case "host-qmp-quit":
            return EndReason.QUIT
        case "host-signal":
            return EndReason.TERMINATED
        case _:
            ended_by_signal = exit_status < 0 or exit_status > 128
            return EndReason.KILLED if ended_by_signal else EndReason.CRASHED
