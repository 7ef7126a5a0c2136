# SPDX-License-Identifier: Apache-2.0
"""The place where commands run: the namespaces of the sandbox, as descriptors.

Held as descriptors so that nothing inside can make the agent enter something else. A `Place`
without any is the agent's own surroundings, for tests.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from . import cgroups
from .loop import close_quietly
from .syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    setns,
)

_KINDS = {
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "net": CLONE_NEWNET,
    "cgroup": CLONE_NEWCGROUP,
    "mnt": CLONE_NEWNS,
}
_TIOCGPTPEER, _TIOCSPTLCK = 0x5441, 0x40045431


class Place:
    """Where sessions run."""

    def __init__(self, pts: int) -> None:
        self.namespaces: dict[str, int] = {}  # kind -> descriptor
        self.pid_namespace: int | None = None
        self.own_pid_namespace: int | None = None
        self.cgroup: int | None = None  # cgroup.procs of the group of all sessions
        self.pts = pts  # the folder in which new terminals are made
        self.user = "0"
        self.workdir = "/"
        self.env: dict[str, str] = {}

    @classmethod
    def here(cls) -> Place:
        """Our own surroundings."""
        return cls(os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def of_process(cls, pid: int, pts: int, *, use_cgroups: bool = True) -> Place:
        """The namespaces of a sandbox's pid 1 (a number in our own namespace) and its /dev/pts."""
        place = cls(pts)
        for kind in _KINDS:
            if kind == "cgroup" and not use_cgroups:
                continue
            place.namespaces[kind] = _open_namespace(pid, kind)
        place.pid_namespace = _open_namespace(pid, "pid")
        place.own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        if use_cgroups:
            place.cgroup = os.open(f"{cgroups.WORK}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        return place

    def close(self) -> None:
        for fd in (*self.namespaces.values(), self.pid_namespace, self.own_pid_namespace):
            if fd is not None:
                close_quietly(fd)
        if self.cgroup is not None:
            close_quietly(self.cgroup)
        close_quietly(self.pts)

    def fork(self) -> int:
        """fork(2) with the child born in the sandbox's pid namespace."""
        if self.pid_namespace is None or self.own_pid_namespace is None:
            return os.fork()
        setns(self.pid_namespace, CLONE_NEWPID)  # for children only: our own number stays
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:  # the child cannot go back up, and need not
                setns(self.own_pid_namespace, CLONE_NEWPID)
        return pid

    def enter(self) -> None:
        """Move the calling (forked) process into the sandbox; its root becomes the sandbox's."""
        if self.cgroup is not None:
            os.write(self.cgroup, b"0")
        self.enter_files()
        for kind, fd in self.namespaces.items():
            if kind != "mnt":
                setns(fd, _KINDS[kind])

    def enter_files(self) -> None:
        """Enter the sandbox's file system only: unseen by its processes, without its limits."""
        if "mnt" in self.namespaces:
            setns(self.namespaces["mnt"], CLONE_NEWNS)

    def open_terminal(self, rows: int, cols: int) -> tuple[int, int]:
        """A new terminal of the sandbox: the agent's end and the session's end.

        No path of the sandbox is used for either, so nothing it mounts there is opened.
        """
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
        ours = os.open("ptmx", flags | os.O_NONBLOCK, dir_fd=self.pts)
        try:
            fcntl.ioctl(ours, _TIOCSPTLCK, struct.pack("i", 0))
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            theirs: int = fcntl.ioctl(ours, _TIOCGPTPEER, flags)
        except BaseException:
            os.close(ours)
            raise
        return ours, theirs


def _open_namespace(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
