# SPDX-License-Identifier: Apache-2.0
"""The sandbox's control group: its bounds, its members, and the end of all of them.

/sbx          bounds of the whole sandbox; the root of its cgroup namespace
/sbx/init     its pid 1
/sbx/work     sessions; what the sandbox makes itself (its containers) stands beside it
/sbx/engine   the container engine, without its containers
/sbx/rescue   sessions that begin while the sandbox is crowded: with a share of the processors of
              their own, they can end a fork bomb
"""

from __future__ import annotations

import os

from .links import read_text
from .syscalls import mount

MOUNT = "/sys/fs/cgroup"
SANDBOX = f"{MOUNT}/sbx"
INIT = f"{SANDBOX}/init"
WORK = f"{SANDBOX}/work"
RESCUE = f"{SANDBOX}/rescue"
ENGINE = f"{SANDBOX}/engine"
CROWD_TASKS = 1000
_TASK_BYTES = 256 * 1024  # of the machine's memory, for each task that may exist
# Kept for the kernel and the agent: the sandbox runs out of memory before the machine does.
_RESERVED_BYTES = 64 << 20


def mount_cgroups() -> None:
    """Mount the tree unless it is there.

    nsdelegate: the sandbox cannot lift its own bounds. favordynmods: a session enters its group in
    microseconds instead of waiting for an RCU grace period.
    """
    if os.path.exists(f"{MOUNT}/cgroup.controllers"):
        return
    try:
        mount("cgroup2", MOUNT, "cgroup2", 0, "nsdelegate,favordynmods")
    except OSError:
        mount("cgroup2", MOUNT, "cgroup2", 0, "nsdelegate")


def make_groups(memory_bytes: int) -> None:
    """Make the groups, bounded so that neither tasks nor memory run out for the agent.

    `memory_bytes` is what the machine has, or will have when it has grown.
    """
    _enable(MOUNT)
    for folder in (SANDBOX, INIT, WORK, RESCUE, ENGINE):
        os.makedirs(folder, exist_ok=True)
    limits = [
        int(read_text(f"/proc/sys/kernel/{name}") or 4096) for name in ("threads-max", "pid_max")
    ]
    _write(f"{SANDBOX}/pids.max", str(min(*limits, memory_bytes // _TASK_BYTES) * 9 // 10))
    _write(f"{SANDBOX}/memory.max", str(memory_bytes - _RESERVED_BYTES))


def enter(folder: str) -> None:
    """Put the calling process into a group."""
    _write(f"{folder}/cgroup.procs", "0")


def delegate() -> None:
    """Hand the controllers on, so that the sandbox can bound groups of its own (docker)."""
    _enable(SANDBOX)


def is_crowded() -> bool:
    """Whether so many tasks run that one more gets hardly any processor time."""
    return int(read_text(f"{SANDBOX}/pids.current") or 0) > CROWD_TASKS


def session_members() -> list[int]:
    """The processes of sessions, without the engine and its containers."""
    return [
        int(line)
        for folder in (WORK, RESCUE)
        for line in _read(f"{folder}/cgroup.procs").split()
        if line != "0"
    ]


def members() -> list[int]:
    """Every process of the sandbox but its pid 1, in the agent's own numbering."""
    found: list[int] = []
    for folder, _folders, _files in os.walk(SANDBOX):
        if folder == INIT:
            continue
        text = _read(f"{folder}/cgroup.procs")
        found += [int(line) for line in text.split() if line != "0"]
    return found


def kill_all() -> None:
    """KILL everything in the sandbox, its pid 1 too, however fast it forks."""
    _write(f"{SANDBOX}/cgroup.kill", "1")


def _enable(folder: str) -> None:
    names = (read_text(f"{folder}/cgroup.controllers") or "").split()
    for name in names:
        try:
            _write(f"{folder}/cgroup.subtree_control", f"+{name}")
        except OSError:  # one controller that the kernel cannot delegate does not spoil the others
            continue


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # the group went away meanwhile
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
