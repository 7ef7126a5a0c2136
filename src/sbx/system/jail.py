# SPDX-License-Identifier: Apache-2.0
"""The jail for programs that face the guest: bubblewrap with the runtime bundle as `/`.

Everything is unshared (user, mount, pid, network, ipc, uts, cgroup), all capabilities are dropped,
the jail dies with its parent, and only what is named here is visible. See bwrap(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

# bwrap asks to die with its parent when it has begun, and cannot know that the parent is dead by
# then. Whoever still holds the pipe at this point was there when it asked. `-t 0` only looks.
_UNLESS_ALONE = 'if read -r -t 0 _ <&{}; then exit 1; fi; exec "$@"'


class BindKind(Enum):
    """How a host path appears in the jail."""

    READ_ONLY = "--ro-bind"
    READ_WRITE = "--bind"
    DEVICE = "--dev-bind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A host path made visible in the jail."""

    source: Path
    target: Path
    kind: BindKind = BindKind.READ_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Jail:
    """What a jailed program sees: `root` (read-only) as `/`, an own /proc and /dev, and `binds`."""

    root: Path
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Path, ...] = (Path("/tmp"), Path("/run"))  # noqa: S108 - inside the jail
    sealed: tuple[Path, ...] = ()  # mounts made read-only last, when what they hold is in place
    user: int | None = None  # our own uid and gid as the program sees them; None: unchanged
    seccomp_fd: int | None = None  # a classic BPF program to load before the program starts
    shares_network: bool = False  # the only thing that is not unshared, then
    alive_fd: int | None = None  # a pipe that its starter holds open: without it, nothing begins
    info_fd: int | None = None  # where bwrap writes `child-pid`, as JSON

    def command(self, program: Sequence[str | Path]) -> list[str]:
        """The argument list that runs `program` in this jail."""
        args = [
            "bwrap",
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--cap-drop", "ALL",
            "--hostname", "jail",
            "--clearenv",
            "--setenv", "PATH", "/usr/bin:/usr/sbin:/usr/libexec",
            "--setenv", "LANG", "C.UTF-8",
            "--ro-bind", str(self.root), "/",
            "--proc", "/proc",
            "--dev", "/dev",
        ]  # fmt: skip
        if self.shares_network:
            args.append("--share-net")
        for folder in self.tmpfs:
            args += ["--tmpfs", str(folder)]
        for bind in self.binds:
            args += [bind.kind.value, str(bind.source), str(bind.target)]
        for folder in self.sealed:
            args += ["--remount-ro", str(folder)]
        if self.user is not None:
            args += ["--uid", str(self.user), "--gid", str(self.user)]
        if self.seccomp_fd is not None:
            args += ["--seccomp", str(self.seccomp_fd)]
        if self.info_fd is not None:
            args += ["--info-fd", str(self.info_fd)]
        if self.alive_fd is not None:
            args += ["--", "busybox", "sh", "-c", _UNLESS_ALONE.format(self.alive_fd), "sh"]
        else:
            args.append("--")
        return [*args, *(str(part) for part in program)]
