# SPDX-License-Identifier: Apache-2.0
"""The place where commands run: the namespaces of the sandbox.

Held as the pidfd of its pid 1, so that nothing inside can make the agent enter something else. A
`Place` without one is the agent's own surroundings, for tests.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from . import cgroups
from .syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    setns,
)

_ALL = CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS
_TIOCGPTPEER, _TIOCSPTLCK = 0x5441, 0x40045431


class Place:
    """Where sessions run."""

    def __init__(self, pts: int) -> None:
        self._pts = pts  # the folder in which new terminals are made
        self._init: int | None = None  # pidfd of the sandbox's pid 1; None: our own surroundings
        self._kinds = _ALL
        self._own_pid_namespace = -1
        self._cgroups: tuple[int, int] | None = None  # cgroup.procs of work and rescue
        self.user = "0"
        self.workdir = "/"
        self.env: dict[str, str] = {}

    @classmethod
    def here(cls) -> Place:
        """Our own surroundings."""
        return cls(os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def of_process(cls, init: int, pts: int, *, use_cgroups: bool = True) -> Place:
        """The namespaces of a sandbox's pid 1 (a pidfd, ours from now on) and its /dev/pts."""
        place = cls(pts)
        place._init = init
        place._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        if use_cgroups:
            place._kinds |= CLONE_NEWCGROUP
            flags = os.O_WRONLY | os.O_CLOEXEC
            place._cgroups = (
                os.open(f"{cgroups.WORK}/cgroup.procs", flags),
                os.open(f"{cgroups.RESCUE}/cgroup.procs", flags),
            )
        return place

    def fork(self) -> int:
        """fork(2) with the child born in the sandbox's pid namespace."""
        if self._init is None:
            return os.fork()
        setns(self._init, CLONE_NEWPID)  # for children only: our own number stays
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:  # the child cannot go back up, and need not
                setns(self._own_pid_namespace, CLONE_NEWPID)
        return pid

    def group(self) -> int | None:
        """The descriptor by which a new session joins its control group; ask before `enter`."""
        if self._cgroups is None:
            return None
        return self._cgroups[cgroups.is_crowded()]

    def enter(self) -> None:
        """Move the calling (forked) process into the sandbox; its root becomes the sandbox's.

        All but its control group: that comes last, because in a crowd everything takes its time.
        """
        if self._init is not None:
            setns(self._init, self._kinds)

    def enter_files(self) -> None:
        """Enter the sandbox's file system only: unseen by its processes, without its limits."""
        if self._init is not None:
            setns(self._init, CLONE_NEWNS)

    def open_terminal(self, rows: int, cols: int) -> tuple[int, int]:
        """A new terminal of the sandbox: the agent's end and the session's end.

        No path of the sandbox is used for either, so nothing it mounts there is opened.
        """
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
        ours = os.open("ptmx", flags | os.O_NONBLOCK, dir_fd=self._pts)
        try:
            fcntl.ioctl(ours, _TIOCSPTLCK, struct.pack("i", 0))
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            theirs: int = fcntl.ioctl(ours, _TIOCGPTPEER, flags)
        except BaseException:
            os.close(ours)
            raise
        return ours, theirs
