# SPDX-License-Identifier: Apache-2.0
"""The one door for child processes.

Argument lists only (never a shell), an explicit environment, standard input closed unless given,
and on failure one line with the command as it could be pasted. Nothing else in the project may
import `subprocess` or call `asyncio.create_subprocess_exec`.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sbx.errors import HostError, PermanentError

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

Arg = str | Path
FileDescriptor = int | IO[bytes] | None

# What a child may learn from our own environment: where things are and how to reach a mirror.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TERM",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "all_proxy", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
_TAIL_CHARS = 2000
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_GRACE_S = 20.0  # for children that remove what they made


class CommandError(PermanentError):
    """A child process ended with a status other than zero."""

    def __init__(self, args: Sequence[str], returncode: int, output: str) -> None:
        name = Path(args[0]).name
        super().__init__(
            f"`{name}` failed with {describe_status(returncode)}",
            details=f"{shlex.join(args)}\n{output[-_TAIL_CHARS:]}".rstrip(),
        )
        self.returncode = returncode


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a finished child ended. A negative `returncode` is the number of the signal."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


OWN_SOURCE = Path(__file__).parents[2]  # PYTHONPATH of programs that are ours
NOWHERE = subprocess.DEVNULL  # for a stream of a child


def base_env() -> dict[str, str]:
    """The environment that children get unless they are given another one."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # Debian's sbin directories are missing from an ordinary user's PATH, and nft and ip live there.
    path = env.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    path += [p for p in ("/usr/local/sbin", "/usr/sbin", "/sbin") if p not in path]
    return {**env, "PATH": ":".join(path), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def describe_status(returncode: int) -> str:
    """`status 3` or `signal 9`, for messages."""
    return f"signal {-returncode}" if returncode < 0 else f"status {returncode}"


def run(
    args: Sequence[Arg],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | FileDescriptor = None,
    stdout: FileDescriptor = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
    timeout_s: float | None = None,
    check: bool = True,
) -> Completed:
    """Run a child to its end and return its output.

    Raises:
        HostError: the program is not there.
        CommandError: it failed and `check` is true, or it took longer than `timeout_s`.
    """
    argv = [str(a) for a in args]
    try:
        child = subprocess.Popen(
            argv,
            env=dict(base_env() if env is None else env),
            cwd=cwd,
            stdin=subprocess.PIPE if isinstance(stdin, bytes) else _or_closed(stdin),
            stdout=stdout,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as error:
        raise _missing(argv[0]) from error
    with child:
        try:
            out, err = child.communicate(stdin if isinstance(stdin, bytes) else None, timeout_s)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise CommandError(argv, -9, f"no end after {timeout_s} s") from error
        except BaseException:
            child.kill()
            raise
    if check and child.returncode != 0:
        raise _failed(argv, child.returncode, err + (out or b""))
    return Completed(args=tuple(argv), returncode=child.returncode, stdout=out or b"", stderr=err)


def _or_closed(stream: FileDescriptor) -> int | IO[bytes]:
    return subprocess.DEVNULL if stream is None else stream


def run_lines(
    args: Sequence[Arg],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: FileDescriptor = None,
    pass_fds: Sequence[int] = (),
) -> None:
    """Run a child and hand over each line of its standard error (and output) as it comes.

    `stdout` redirects the standard output elsewhere, so that only standard error is read.
    The child and its own children are ended if `on_line` raises or the caller is interrupted: they
    are a session of their own, so that an interrupt at the terminal reaches us first.

    Raises:
        HostError, CommandError: as `run`.
    """
    argv = [str(a) for a in args]
    child = popen(
        argv,
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.STDOUT if stdout is None else subprocess.PIPE,
        pass_fds=pass_fds,
        new_session=True,
    )
    stream = child.stdout if stdout is None else child.stderr
    assert stream is not None
    tail: list[str] = []
    try:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            tail = [*tail[-40:], line]
            on_line(line)
    except BaseException:
        _end_group(child, stream)
        raise
    finally:
        stream.close()
        child.wait()
    if child.returncode != 0:
        raise _failed(argv, child.returncode, "\n".join(tail).encode())


def popen(
    args: Sequence[Arg],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: FileDescriptor = subprocess.DEVNULL,
    stdout: FileDescriptor = subprocess.DEVNULL,
    stderr: FileDescriptor = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child and return at once; the caller owns it and must wait for it.

    Raises:
        HostError: the program is not there.
    """
    argv = [str(a) for a in args]
    try:
        return subprocess.Popen(
            argv,
            env=dict(base_env() if env is None else env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=new_session,
        )
    except FileNotFoundError as error:
        raise _missing(argv[0]) from error


async def spawn(
    args: Sequence[Arg],
    *,
    env: Mapping[str, str] | None = None,
    stdin: FileDescriptor = subprocess.DEVNULL,
    stdout: FileDescriptor = subprocess.DEVNULL,
    stderr: FileDescriptor = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    limit_bytes: int = 64 << 10,
) -> asyncio.subprocess.Process:
    """Start a child of the running event loop; the caller owns it and must await its end.

    `limit_bytes` bounds a line that is read from it. The child dies with us, also if we are killed
    before it has begun (prctl(2), PR_SET_PDEATHSIG).

    Raises:
        HostError: the program is not there.
    """
    import asyncio  # noqa: PLC0415 - a tenth of the time of a command that starts nothing

    argv = [str(a) for a in args]
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            env=dict(base_env() if env is None else env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            limit=limit_bytes,
            preexec_fn=_bind_to(os.getpid()),
        )
    except FileNotFoundError as error:
        raise _missing(argv[0]) from error


def _end_group(child: subprocess.Popen[bytes], stream: IO[bytes]) -> None:
    """Ask a child's process group to end, give it a bounded time to clean up, then kill it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        # Read on, or a child that reports its end would wait for room in the pipe.
        reader = threading.Thread(target=_read_out, args=(stream,), daemon=True)
        reader.start()
        try:
            child.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            log.warning("child does not end when asked: %s", child.args)
        os.killpg(child.pid, signal.SIGKILL)
        reader.join(timeout=1)


def _read_out(stream: IO[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while stream.read(1 << 16):
            pass


def _bind_to(parent: int) -> Callable[[], None]:
    """What a child does first: ask for its death with its parent, and see whether that is due."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _missing(program: str) -> HostError:
    return HostError(f"program not found: `{program}`", hint="Run: sbx diagnose")


def _failed(argv: Sequence[str], returncode: int, output: bytes) -> CommandError:
    error = CommandError(argv, returncode, output.decode(errors="replace"))
    log.warning("child failed: %s: %s", describe_status(returncode), shlex.join(argv))
    return error
