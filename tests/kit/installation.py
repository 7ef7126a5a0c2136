# SPDX-License-Identifier: Apache-2.0
"""An installation of sbx for one test: own state and sockets, the shared cache, a leak check."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tests.internet.client import Internet

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    args: tuple[str, ...]
    returncode: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode()

    def ok(self) -> Ended:
        """Itself, if the status was 0."""
        assert self.returncode == 0, self.describe()
        return self

    def describe(self) -> str:
        return (
            f"{' '.join(self.args)}\nstatus {self.returncode}\n"
            f"--- out\n{self.out[-4000:].decode(errors='replace')}\n"
            f"--- err\n{self.err[-4000:].decode(errors='replace')}"
        )


@dataclass(slots=True)
class Installation:
    """Where one test's sbx keeps its things, and how to call it.

    The runtime folder is short, because socket paths are bounded; everything else is below `home`.
    """

    home: Path
    runtime: Path
    cache: Path
    prefix: tuple[str, ...] = ()  # what runs it as somebody else
    internet: Internet | None = None  # where it lives instead of in this machine's network
    extra_env: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def view(self) -> int:
        """The process whose namespaces this installation's own processes start in."""
        return os.getpid() if self.internet is None else self.internet.pid

    @property
    def state(self) -> Path:
        return self.home / "state"

    def env(self) -> dict[str, str]:
        """The environment of every call: nothing of the tester's own settings."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "src"),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.cache),
            "XDG_RUNTIME_DIR": str(self.runtime),
            **self.extra_env,
        }

    def command(self, *args: str, cwd: Path | None = None) -> list[str]:
        """The argument list of one call."""
        enter = self.internet.enter(cwd or self.home) if self.internet is not None else ()
        return [*enter, *self.prefix, sys.executable, "-m", "sbx", *args]

    def call(
        self, *args: str, stdin: bytes = b"", cwd: Path | None = None, timeout_s: float = TIMEOUT_S
    ) -> Ended:
        """Run `sbx ARGS` to its end."""
        done = subprocess.run(
            self.command(*args, cwd=cwd),
            input=stdin,
            capture_output=True,
            env=self.env(),
            cwd=cwd or self.home,
            timeout=timeout_s,
            check=False,
        )
        return Ended(args, done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, stdin: bytes = b"", cwd: Path | None = None) -> Ended:
        """Run `sbx ARGS`, which must succeed."""
        return self.call(*args, stdin=stdin, cwd=cwd).ok()

    def popen(self, *args: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start `sbx ARGS`; the caller ends it."""
        return subprocess.Popen(
            self.command(*args, cwd=cwd),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env(),
            cwd=cwd or self.home,
        )

    def inside(self, name: str, *argv: str, user: str | None = None, stdin: bytes = b"") -> Ended:
        """Run a command in a sandbox."""
        options = ["-u", user] if user else []
        return self.call("exec", *options, name, *argv, stdin=stdin)

    def inspect(self, name: str) -> dict[str, object]:
        """What `inspect --json` says."""
        return cast("dict[str, object]", json.loads(self.ok("inspect", name, "--json").out))

    def folder(self, name: str) -> Path:
        """A sandbox's folder."""
        return self.state / "opensbx" / "sandboxes" / name

    def names(self) -> list[str]:
        """The sandboxes that there are."""
        folder = self.state / "opensbx" / "sandboxes"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def close(self, evidence: Path) -> None:
        """Remove all sandboxes and prove that nothing is left; on a leak, keep the logs."""
        family = Family.of(str(self.home), but_not=namespace(self.view))
        ids = [str(self.inspect(name)["id"]) for name in self.names()]
        done = self.call("rm", "--all", "-f") if self.names() else None
        problems = leaks(self) + family.survivors()
        groups = Path("/sys/fs/cgroup").rglob("opensbx-*")
        problems += [f"cgroup {g}" for g in groups if g.name.removeprefix("opensbx-") in ids]
        if done is not None and done.returncode != 0:
            problems.append(done.describe())
        if problems:
            keep_evidence(self, evidence)
        assert not problems, "left behind:\n" + "\n".join(problems)


@dataclass(frozen=True, slots=True)
class Family:
    """The processes that name a text, all their descendants, and the namespaces they are in."""

    born: dict[int, str]  # pid -> start time, so that a number that is used again is not mistaken
    namespaces: frozenset[str]
    at: int  # when it was looked at, on the scale of the start times

    @classmethod
    def of(cls, mark: str, *, but_not: str | None = None) -> Family:
        """The family as it is now; a namespace that it only visits is not one of its own."""
        members = {pid for pid, text in processes() if mark in text}
        parents = {pid: stat_field(pid, 4) for pid in all_pids()}
        while new := {p for p, parent in parents.items() if int(parent or 0) in members} - members:
            members |= new
        found = {namespace(pid) for pid in members} - {namespace(os.getpid()), but_not, None}
        return cls(
            {pid: stat_field(pid, 22) or "" for pid in members},
            frozenset(str(each) for each in found),
            int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")),
        )

    def survivors(self) -> list[str]:
        """What of it is still there."""
        # A zombie holds nothing but its number, until init gets round to it.
        alive = (pid for pid, at in self.born.items() if stat_field(pid, 22) == at)
        left = [f"process {pid}" for pid in alive if stat_field(pid, 3) not in ("Z", None)]
        # The kernel gives a namespace's number to the next one that somebody makes.
        older = (pid for pid in all_pids() if int(stat_field(pid, 22) or self.at + 1) <= self.at)
        held = {namespace(pid) for pid in older}
        return left + [f"namespace {each}" for each in self.namespaces if each in held]


def keep_evidence(installation: Installation, evidence: Path) -> None:
    """Copy logs (not disks) of all sandboxes to a folder that outlives the test."""
    folder = installation.state / "opensbx" / "sandboxes"
    if folder.is_dir():
        shutil.copytree(
            folder,
            evidence,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("data.img"),
        )


def leaks(installation: Installation) -> list[str]:
    """Everything that still belongs to an installation: processes, mounts, sockets, folders."""
    mark = str(installation.home)
    found = [f"process {pid}: {text}" for pid, text in processes() if mark in text]
    mounts = Path(f"/proc/{installation.view}/mountinfo").read_text().splitlines()
    found += [f"mount: {line}" for line in mounts if mark in line]
    found += [f"sandbox folder: {name}" for name in installation.names()]
    own = installation.runtime / "opensbx"
    if own.is_dir():
        found += [f"socket folder: {p}" for p in own.iterdir() if p.name != "boot-slots"]
    return found


def processes() -> list[tuple[int, str]]:
    """Every process but ourselves: its command line, open files and environment, as one text."""
    found: list[tuple[int, str]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + b" " + (entry / "environ").read_bytes()
            links = [str(fd.readlink()) for fd in (entry / "fd").iterdir()]
        except OSError:
            continue  # it has ended, or it is a kernel thread's
        line = text.replace(b"\0", b" ").decode(errors="replace")
        found.append((int(entry.name), line + " " + " ".join(links)))
    return found


def all_pids() -> list[int]:
    """Every process there is."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def stat_field(pid: int, number: int) -> str | None:
    """A field of proc_pid_stat(5), counted from 1; None for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()[number - 3]


def namespace(pid: int) -> str | None:
    """The network namespace of a process."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None


def lines_of(command: Sequence[str]) -> list[str]:
    """The output lines of a host command."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()
