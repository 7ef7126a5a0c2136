# SPDX-License-Identifier: Apache-2.0
"""The one door to the host's git: whatever a repository says, no program of it is started.

Every call names its repository, so nothing is discovered from a folder that a guest writes. System
and user configuration are not read; hooks, the file system monitor, external diffs, text
conversions, signatures, credential helpers and transports are switched off on the command line,
which wins over the repository's own configuration. See
docs/decisions/0007-git-over-its-own-protocol.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbx.errors import HostError
from sbx.system.process import Arg, CommandError, Completed, run

MIN_VERSION = (2, 38)  # the first with `merge-tree --write-tree`
_TIMEOUT_S = 600.0
# For git that parses what a guest sent: memory, and what one pack may hold.
_MEMORY_BYTES = 8 << 30
_FILE_BYTES = 8 << 30

_OFF = "/dev/null"
_CONFIG = (
    # what would start a program
    f"core.hooksPath={_OFF}", "core.fsmonitor=false", "core.alternateRefsCommand=true",
    "core.sshCommand=false", "core.askPass=false", "core.editor=false", "core.pager=cat",
    "core.gitProxy=", "credential.helper=", "diff.external=", "gpg.program=false",
    "gpg.ssh.program=false", "gpg.x509.program=false", "commit.gpgSign=false", "tag.gpgSign=false",
    "log.showSignature=false", "gc.auto=0", "maintenance.auto=false", "interactive.diffFilter=",
    "uploadpack.packObjectsHook=", "trace2.eventTarget=", "trace2.normalTarget=",
    "trace2.perfTarget=",
    # what would read or write elsewhere
    f"core.attributesFile={_OFF}", f"core.excludesFile={_OFF}", "submodule.recurse=false",
    "fetch.recurseSubmodules=false", "fetch.writeCommitGraph=false",
    "fetch.showForcedUpdates=false",
    "core.sparseCheckout=false", "core.untrackedCache=false", "core.splitIndex=false",
    "index.skipHash=false",
    # how strictly objects are looked at
    "transfer.fsckObjects=true", "fetch.fsckObjects=true", "fetch.unpackLimit=1",
    "core.protectHFS=true", "core.protectNTFS=true", "core.quotePath=true",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """Calls on one repository."""

    git_dir: Path
    work_tree: Path | None = None
    index: Path | None = None
    # More `-c`, such as drivers that this repository's configuration names and that must not run.
    config: tuple[str, ...] = ()
    transports: tuple[str, ...] = ("file",)
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    is_bounded: bool = False  # it parses what a guest sent
    reads_user_config: bool = False  # for the user's own name, never for work on objects

    def command(self, *args: Arg) -> list[str]:
        """The argument list."""
        places = [f"--git-dir={self.git_dir}"]
        if self.work_tree is not None:
            places.append(f"--work-tree={self.work_tree}")
        settings = [part for item in (*_CONFIG, *self.config) for part in ("-c", item)]
        limits: list[str] = []
        if self.is_bounded:
            limits = [f"--as={_MEMORY_BYTES}", f"--fsize={_FILE_BYTES}"]
        return [
            "prlimit", "--core=0", *limits,
            "git", *places, "--no-pager", "--literal-pathspecs", *settings,
            *(str(arg) for arg in args),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """All that git sees of the environment."""
        found = _base_environment()
        if self.reads_user_config:
            del found["GIT_CONFIG_GLOBAL"]
        found["GIT_ALLOW_PROTOCOL"] = ":".join(self.transports)
        if self.index is not None:
            found["GIT_INDEX_FILE"] = str(self.index)
        return {**found, **self.env}

    def run(
        self,
        *args: Arg,
        stdin: bytes = b"",
        check: bool = True,
        pass_fds: Sequence[int] = (),
        timeout_s: float = _TIMEOUT_S,
    ) -> Completed:
        """Run git to its end.

        Raises:
            HostError: git is not there.
            CommandError: it failed and `check` is true, or it took too long.
        """
        done = run(
            self.command(*args), env=self.environment(), cwd=Path("/"), stdin=stdin,
            pass_fds=pass_fds, timeout_s=timeout_s, check=False,
        )  # fmt: skip
        if done.returncode == 127:  # prlimit: no such program
            raise missing_git()
        if check and done.returncode != 0:
            raise _failed(args, done)
        return done

    def text(self, *args: Arg, stdin: bytes = b"") -> str:
        """The output, without the newline at its end; bytes that are not UTF-8 are kept."""
        return os.fsdecode(self.run(*args, stdin=stdin).stdout).rstrip("\n")

    def succeeds(self, *args: Arg) -> bool:
        """Whether git ends with status 0."""
        return self.run(*args, check=False).returncode == 0

    def commit(self, revision: str) -> str | None:
        """The id of the commit that a name stands for; None if there is none."""
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options",
                        f"{revision}^{{commit}}", check=False)  # fmt: skip
        return done.stdout.decode().strip() or None if done.returncode == 0 else None


def discover(path: Path, *args: Arg) -> Completed:
    """`git rev-parse` for the repository around a folder that the user named."""
    settings = [part for item in _CONFIG for part in ("-c", item)]
    done = run(
        ["prlimit", "--core=0", "git", *settings, "rev-parse", *args],
        env={**_base_environment(), "GIT_ALLOW_PROTOCOL": "none"}, cwd=path,
        timeout_s=_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode == 127:
        raise missing_git()
    return done


def missing_git() -> HostError:
    """Branches and clones need git on the host."""
    return HostError("git is not installed on this host", hint="Run: sudo apt install git")


def check_version() -> None:
    """Raise HostError for a git that is too old to bring work back."""
    done = run(["prlimit", "--core=0", "git", "version"], env=_base_environment(), check=False)
    if done.returncode == 127:
        raise missing_git()
    numbers = done.stdout.decode().split()[2].split(".")[:2]
    if tuple(int(part) for part in numbers) < MIN_VERSION:
        wanted = ".".join(str(part) for part in MIN_VERSION)
        found = ".".join(numbers)
        raise HostError(f"git {found} is too old", hint=f"Install git {wanted} or newer")


def _base_environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": _OFF,
        "GIT_CONFIG_GLOBAL": _OFF,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "GIT_EDITOR": "false",
        "GIT_SSH_COMMAND": "false",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_MERGE_AUTOEDIT": "no",
    }


def _failed(args: Sequence[Arg], done: Completed) -> CommandError:
    words = (done.stderr or done.stdout).decode(errors="replace")
    return CommandError(["git", *(str(arg) for arg in args)], done.returncode, words)
