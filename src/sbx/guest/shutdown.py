# SPDX-License-Identifier: Apache-2.0
"""The orderly end: ask, wait, kill, write out."""

from __future__ import annotations

import os
import signal
import time

from . import cgroups
from .loop import Loop

_KILLED_TIMEOUT_S = 10.0
ENGINE_GRACE_S = 10.0  # beyond that of everything else
_GENTLE = (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)


async def end_processes(
    loop: Loop, init: int, grace_s: float, *, engine: int | None = None
) -> bool:
    """End everything in the sandbox; True if all went by themselves within `grace_s`.

    TERM, then HUP for the shells that ignore TERM, then KILL through the control group, which
    reaches whatever forks faster than it can be listed. Containers are ended by their `engine`, if
    one runs, in a time of their own: it knows which signal each expects, and gives it 10 s.
    """
    members = cgroups.members()
    if len(members) > cgroups.CROWD_TASKS:
        grace_s, members = 0.0, []  # a fork bomb has no manners
    if engine is not None and members:
        members = await _end_containers(loop, engine, grace_s)
    deadline = time.monotonic() + grace_s
    for number in _GENTLE:
        for pid in members:
            _signal(pid, number)
    while members and time.monotonic() < deadline:
        await wait_all(loop, members, deadline - time.monotonic())
        members = cgroups.members()
    cgroups.kill_all()
    await wait_all(loop, [init], _KILLED_TIMEOUT_S)
    return not members


async def _end_containers(loop: Loop, engine: int, grace_s: float) -> list[int]:
    """End the engine, and sessions beside it; return what is left after that."""
    for number in _GENTLE:
        for pid in cgroups.session_members():
            _signal(pid, number)
    _signal(engine, signal.SIGTERM)
    await wait_all(loop, [engine], grace_s + ENGINE_GRACE_S)
    return cgroups.members()


async def wait_all(loop: Loop, pids: list[int], timeout_s: float) -> None:
    """Wait until all have ended, or `timeout_s` passed."""
    pidfds = [fd for fd in map(_pidfd, pids) if fd is not None]
    deadline = time.monotonic() + timeout_s
    try:
        for fd in pidfds:
            if not await loop.readable(fd, max(0.0, deadline - time.monotonic())):
                return
    finally:
        for fd in pidfds:
            os.close(fd)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return
