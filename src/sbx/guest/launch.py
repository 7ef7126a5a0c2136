# SPDX-License-Identifier: Apache-2.0
"""The child's side of a session: from fork to exec, inside the sandbox.

What fails is reported in the words of a container engine, with the exit status a shell would give:
127 not found, 126 found but not runnable.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import termios

from .place import Place
from .syscalls import hide_from_debuggers, reset_signals
from .users import Identity, UserError, find_user
from .wire import Fields

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: "
_NOT_FOUND, _NOT_RUNNABLE = 127, 126
_FILES_SOFT = 1024  # open files, as systemd gives out; programs that need more raise it
# What Python and the agent's start set aside; ignored signals would stay ignored after exec.
_OWN_SIGNALS = tuple(
    int(number)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
)
_REASONS = {
    errno.ENOENT: "no such file or directory",
    errno.EACCES: "permission denied",
    errno.ENOEXEC: "exec format error",
    errno.E2BIG: "argument list too long",
    errno.ENOTDIR: "not a directory",
}


class LaunchError(Exception):
    """The command cannot be started."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Command:
    """What to run, parsed from a request and completed from the place's defaults."""

    __slots__ = ("argv", "cols", "env", "rows", "stdin", "terminal", "user", "workdir")

    def __init__(self, fields: Fields, place: Place) -> None:
        self.argv = fields.list_of_text("argv", 65536, 1 << 20)
        self.env = {**place.env, **fields.pairs("env", 4096, 128 * 1024)}
        self.user = fields.text_or_none("user", 256) or place.user
        self.workdir = fields.text_or_none("workdir") or place.workdir
        self.stdin = fields.flag("stdin")
        tty = fields.fields_or_none("tty")
        self.terminal = tty is not None
        self.rows = self.cols = 0
        if tty is not None:
            self.rows, self.cols = tty.integer("rows", 0, 65535), tty.integer("cols", 0, 65535)
            self.env.setdefault("TERM", tty.text("term", 64))


class Ends:
    """The child's three standard descriptors; with a terminal all are the same."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


def run_child(command: Command, place: Place, ends: Ends, report: int) -> None:
    """Become the command. Never returns; a failure is written to `report` as `status message`."""
    try:
        hide_from_debuggers()  # this is still the agent's memory
        os.setsid()
        if command.terminal:
            fcntl.ioctl(ends.stdin, termios.TIOCSCTTY, 0)
        for number, fd in enumerate((ends.stdin, ends.stdout, ends.stderr)):
            os.dup2(fd, number)
        leave_agent_habits()
        group = place.group()
        place.enter()
        identity = _identity(command.user)
        if command.terminal:
            os.fchown(0, identity.uid, -1)
        _become(identity)
        _change_folder(command.workdir)
        environment = _environment(command, identity)
        if group is not None:
            os.write(group, b"0")
        _execute(command.argv, environment)
    except LaunchError as error:
        _tell(report, error.status, error.message)
    except BaseException as error:  # noqa: BLE001 - the process ends here, the reason must get out
        _tell(report, _NOT_RUNNABLE, f"{_PREFIX}{error}")
    finally:
        os._exit(255)


def leave_agent_habits() -> None:
    """Undo what children inherit from the agent: OOM score, signals, limits, umask."""
    os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC), b"0")
    reset_signals(_OWN_SIGNALS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES_SOFT, hard), hard))
    os.umask(0o022)


def _identity(spec: str) -> Identity:
    try:
        return find_user(spec)
    except UserError as error:
        raise LaunchError(f"{error}", _NOT_RUNNABLE) from None


def _become(identity: Identity) -> None:
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def _change_folder(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        status = _NOT_FOUND if error.errno == errno.ENOENT else _NOT_RUNNABLE
        message = f'{_PREFIX}chdir to cwd ("{path}") failed: {_reason(error)}'
        raise LaunchError(message, status) from None


def _environment(command: Command, identity: Identity) -> dict[str, str]:
    own = {"HOME": identity.home, "SHELL": identity.shell, "PATH": DEFAULT_PATH}
    if identity.name:
        own |= {"USER": identity.name, "LOGNAME": identity.name}
    return {**own, **command.env}


def _execute(argv: list[str], env: dict[str, str]) -> None:
    name = argv[0]
    failed = OSError(errno.ENOENT, "")
    if "/" in name:
        candidates = [name]
    else:
        candidates = (
            [f"{folder or '.'}/{name}" for folder in env["PATH"].split(":")] if name else []
        )
    for path in candidates:
        try:
            os.execve(path, argv, env)  # noqa: S606 - no shell: that is the point
        except OSError as error:
            # As a shell does: go on after what is not there, remember what was and did not run.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failed = error
                if error.errno != errno.EACCES:
                    break
            elif "/" in name:
                failed = error
    raise _not_run(name, failed)


def _not_run(name: str, error: OSError) -> LaunchError:
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return LaunchError(f'{_PREFIX}exec: "{name}": {_reason(error)}', _NOT_RUNNABLE)
    if "/" in name:
        reason = f"stat {name}: {_reason(error)}"
    else:
        reason = "executable file not found in $PATH"
    return LaunchError(f'{_PREFIX}exec: "{name}": {reason}', _NOT_FOUND)


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0).lower()


def _tell(report: int, status: int, message: str) -> None:
    os.write(report, f"{status} {message}".encode("utf-8", "backslashreplace")[:4000])
