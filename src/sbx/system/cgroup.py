# SPDX-License-Identifier: Apache-2.0
"""Limits on what a sandbox's processes take from the host: one cgroup (version 2) per sandbox.

The host decides whether we may: a systemd user manager delegates a part of the tree, root owns all
of it, and other users and old (version 1) set-ups get nothing. Without it there are no limits,
which `find_support` says and nothing else depends on. See the kernel's admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError

log = logging.getLogger(__name__)

CONTROLLERS = frozenset({"memory", "pids", "cpu"})
_CPU_PERIOD_US = 100_000
_EMPTY_TIMEOUT_S = 5.0
_PREFIX = "opensbx-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupSupport:
    """Where sandboxes may have cgroups, and what can be limited there."""

    parent: Path | None
    controllers: frozenset[str]  # a part of `CONTROLLERS`
    reason: str | None  # why there are no limits, or not all; None: everything can be limited

    def place(self, name: str) -> Path | None:
        """Where the cgroup of one sandbox would be."""
        return None if self.parent is None else self.parent / f"{_PREFIX}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLimits:
    """The most that one sandbox may take; None: no limit of that kind."""

    memory_bytes: int | None = None
    processes: int | None = None  # and threads
    cpus: float | None = None


class Cgroup:
    """A sandbox's cgroup."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        """Move a process here; children it starts from now on are here too.

        Raises:
            HostError: the process is gone, or the host forbids it.
        """
        self._write("cgroup.procs", str(pid))

    def pids(self) -> tuple[int, ...]:
        """The processes in it."""
        return tuple(int(word) for word in (self.path / "cgroup.procs").read_text().split())

    def kill(self) -> None:
        """SIGKILL to every process in it, also to those being forked."""
        try:
            self._write("cgroup.kill", "1")
        except HostError as error:  # Linux before 5.14
            log.debug("no cgroup.kill: %s", error)

    def remove(self) -> None:
        """Remove it, killing what is still in it.

        Raises:
            HostError: processes stay in it, hanging in the host's kernel.
        """
        if not self.path.exists():
            return
        if self._is_populated():
            self.kill()
            self._wait_until_empty()
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise HostError(f"cannot remove cgroup `{self.path}`: {error.strerror}") from error

    def _is_populated(self) -> bool:
        return "populated 1" in (self.path / "cgroup.events").read_text()

    def _wait_until_empty(self) -> None:
        """Wait for the kernel's own word: `cgroup.events` becomes readable when it changes."""
        deadline = time.monotonic() + _EMPTY_TIMEOUT_S
        with (self.path / "cgroup.events").open() as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while "populated 1" in events.read():
                left_ms = max(0, round((deadline - time.monotonic()) * 1000))
                if not poll.poll(left_ms):
                    return
                events.seek(0)

    def limit(self, limits: CgroupLimits, controllers: frozenset[str]) -> None:
        """Set what of `limits` the controllers can do."""
        for name, controller, value in _settings(limits):
            if controller in controllers and value is not None:
                self._write(name, value)

    def _write(self, name: str, value: str) -> None:
        try:
            (self.path / name).write_text(value)
        except OSError as error:
            raise HostError(f"cannot set `{self.path / name}`: {error.strerror}") from error


def find_support(
    *, mounts: Path = Path("/proc/self/mountinfo"), own: Path = Path("/proc/self/cgroup")
) -> CgroupSupport:
    """Look for the nearest place, from our own cgroup upwards, where we may make cgroups."""
    root = _mount_point(mounts.read_text())
    if root is None:
        return _none("cgroup version 2 is not mounted")
    here = _own_path(own.read_text(), root)
    candidates = () if here is None else (here, *here.parents)
    for folder in candidates:
        if not folder.is_relative_to(root):
            break
        if os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            found = _enabled(folder)
            if found or folder == root:
                return CgroupSupport(parent=folder, controllers=found, reason=_missing(found))
    return _none("the host does not delegate a part of its cgroups to this user")


@contextlib.contextmanager
def make_cgroup(
    support: CgroupSupport, name: str, limits: CgroupLimits
) -> Generator[Cgroup | None]:
    """A cgroup for one sandbox, removed (with what is in it) at the end; None if unsupported.

    Raises:
        HostError: the host refused something it seemed to allow.
    """
    place = support.place(name)
    if place is None:
        yield None
        return
    cgroup = Cgroup(place)
    cgroup.remove()  # left by a supervisor that was killed
    try:
        cgroup.path.mkdir()
    except OSError as error:
        raise HostError(f"cannot make cgroup `{cgroup.path}`: {error.strerror}") from error
    try:
        cgroup.limit(limits, support.controllers)
        yield cgroup
    finally:
        cgroup.remove()


def _settings(limits: CgroupLimits) -> tuple[tuple[str, str, str | None], ...]:
    """File, controller and value of each limit."""
    memory, processes, cpus = limits.memory_bytes, limits.processes, limits.cpus
    quota = None if cpus is None else f"{round(cpus * _CPU_PERIOD_US)} {_CPU_PERIOD_US}"
    return (
        ("memory.max", "memory", None if memory is None else str(memory)),
        ("pids.max", "pids", None if processes is None else str(processes)),
        ("cpu.max", "cpu", quota),
    )


def _mount_point(mountinfo: str) -> Path | None:
    """Where cgroup version 2 is mounted (proc(5), `mountinfo`: the type follows a lone dash)."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ", 1)[0] == "cgroup2":
            return Path(fields.split(" ")[4])
    return None


def _own_path(membership: str, root: Path) -> Path | None:
    """Our own cgroup: the line of version 2 has the number 0 and no controllers."""
    for line in membership.splitlines():
        if line.startswith("0::/"):
            return root / line.removeprefix("0::/")
    return None


def _enabled(folder: Path) -> frozenset[str]:
    """The controllers that children of `folder` have, after asking for those that it has itself."""
    there = _words(folder / "cgroup.controllers") & CONTROLLERS
    wanted = " ".join(f"+{name}" for name in sorted(there))
    if there - _words(folder / "cgroup.subtree_control"):
        # Refused while processes are in `folder` itself: then an ancestor may do.
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(wanted)
    return _words(folder / "cgroup.subtree_control") & CONTROLLERS


def _words(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text().split())
    except OSError:
        return frozenset()


def _missing(found: frozenset[str]) -> str | None:
    missing = sorted(CONTROLLERS - found)
    return f"cgroup version 2 lacks: {', '.join(missing)}" if missing else None


def _none(reason: str) -> CgroupSupport:
    return CgroupSupport(parent=None, controllers=frozenset(), reason=reason)
