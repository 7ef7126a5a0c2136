# SPDX-License-Identifier: Apache-2.0
"""Processes by descriptor (pidfd_open(2)), so that a number used again is never signalled."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from sbx.errors import TransientError


def last_descendant(pid: int) -> int:
    """Follow only children from `pid` down: the program at the end of a chain of wrappers.

    bubblewrap waits outside and inside of its namespace, so a jailed program is its grandchild.

    Raises:
        TransientError: a process of the chain is gone, or has several children.
    """
    while children := _children(pid):
        if len(children) > 1:
            raise TransientError(f"process {pid} has more than one child")
        pid = children[0]
    return pid


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TransientError(f"process {pid} is gone") from error
    return [int(word) for word in text.split()]


class ProcessHandle:
    """A process that may end, and be replaced under its number, at any time."""

    def __init__(self, pid: int) -> None:
        """Open it (TransientError: it is gone)."""
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise TransientError(f"process {pid} is gone") from error
        self.pid = pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended is left in peace."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, whoever its parent is; whether it came within the time."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        os.close(self._fd)
