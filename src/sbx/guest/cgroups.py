# SPDX-License-Identifier: Apache-2.0
"""The sandbox's control group: its bounds, its members, and the end of all of them.

/sbx          bounds of the whole sandbox; the root of its cgroup namespace
/sbx/init     its pid 1
/sbx/work     sessions; what the sandbox makes itself (docker) stands beside it
"""

from __future__ import annotations

import os

from .links import read_text
from .syscalls import mount

MOUNT = "/sys/fs/cgroup"
SANDBOX = f"{MOUNT}/sbx"
INIT = f"{SANDBOX}/init"
WORK = f"{SANDBOX}/work"


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


def make_groups() -> None:
    """Make the groups and set what bounds a fork bomb, so that the agent can always fork."""
    _enable(MOUNT)
    for folder in (SANDBOX, INIT, WORK):
        os.makedirs(folder, exist_ok=True)
    tasks = [
        int(read_text(f"/proc/sys/kernel/{name}") or 4096) for name in ("threads-max", "pid_max")
    ]
    _write(f"{SANDBOX}/pids.max", str(min(tasks) * 9 // 10))


def enter(folder: str) -> None:
    """Put the calling process into a group."""
    _write(f"{folder}/cgroup.procs", "0")


def delegate() -> None:
    """Hand the controllers on, so that the sandbox can bound groups of its own (docker)."""
    _enable(SANDBOX)


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
