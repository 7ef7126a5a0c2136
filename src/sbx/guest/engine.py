# SPDX-License-Identifier: Apache-2.0
"""The container engine of the sandbox: `dockerd` of the template, started when somebody connects.

The listening socket is made with the sandbox (`open_socket`, inside its root) and handed to each
`dockerd` (sd_listen_fds(3)), so that a first client simply waits until the engine answers it. The
agent holds a copy: when an engine has ended, the next connection starts another one.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat

from . import cgroups
from .containers import prepare_runtime
from .launch import DEFAULT_PATH, leave_agent_habits
from .loop import READ, Loop
from .place import Place
from .syscalls import hide_from_debuggers
from .users import UserError, find_group

SOCKET = "/run/docker.sock"
_LOG = "/var/log/docker.log"
_LOG_BYTES = 8 << 20  # of earlier engines: beyond it the log begins anew
_BACKLOG = 128
_FIRST_FD = 3  # SD_LISTEN_FDS_START
_TAIL_BYTES = 8192
_REASON_BYTES = 1000
_REQUEST_TIMEOUT_S = 5.0
_CONTAINERS = "/var/lib/docker/containers"
# What of a command's environment the engine needs itself: its way out, and whom it trusts.
_VARIABLES = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE",
)  # fmt: skip


def open_socket() -> socket.socket | None:
    """The engine's listening socket; None if the template has no engine. Runs inside the root."""
    if _find("dockerd") is None:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(SOCKET)
        try:
            os.chown(SOCKET, 0, find_group("docker"))
        except (UserError, PermissionError):  # then it is root's alone, and `agent` has sudo
            pass
        os.chmod(SOCKET, 0o660)
        listener.listen(_BACKLOG)
        if os.path.realpath("/var/run") != "/run":
            _link(f"/var/run/{os.path.basename(SOCKET)}")
    except OSError:
        listener.close()
        raise
    return listener


def is_wanted() -> bool:
    """Whether a container is to be up all the time. Runs inside the root."""
    try:
        names = os.listdir(_CONTAINERS)
    except OSError:
        return False
    return any(_is_to_be_up(f"{_CONTAINERS}/{name}") for name in names)


class Engine:
    """The engine of one sandbox, as the agent sees it."""

    def __init__(self, loop: Loop, listener: socket.socket, place: Place) -> None:
        self._loop = loop
        self._listener = listener
        self._place = place
        self._pid: int | None = None
        self._pidfd = -1
        self._log: int | None = None
        self._is_closed = False
        listener.settimeout(0)
        self._watch()

    @property
    def pid(self) -> int | None:
        """The engine's process in the agent's numbering, while it runs."""
        return self._pid

    def start(self) -> None:
        """Start it unless it runs; clients may connect meanwhile."""
        if self._pid is not None or self._is_closed:
            return
        self._loop.unwatch(self._listener.fileno())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            group = os.open(f"{cgroups.ENGINE}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            try:
                pid = self._place.fork()
                if pid == 0:
                    _become_engine(self._place, self._listener, group, theirs)
            finally:
                os.close(group)
            self._pid, self._pidfd = pid, os.pidfd_open(pid)
            theirs.close()
            self._loop.watch(self._pidfd, READ, lambda _events: self._on_end())
            report = ours.detach()
        self._loop.watch(report, READ, lambda _events: self._on_report(report))

    def close(self) -> None:
        """Start no other one: the sandbox is going down."""
        self._is_closed = True
        self._loop.unwatch(self._listener.fileno())

    def _watch(self) -> None:
        if not self._is_closed:
            self._loop.watch(self._listener.fileno(), READ, lambda _events: self.start())

    def _on_report(self, report: int) -> None:
        """The engine's log comes, opened inside the sandbox, before the engine itself runs."""
        self._loop.unwatch(report)
        with socket.socket(fileno=report) as sock:
            fds = socket.recv_fds(sock, 1, 1, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)[1]
        if fds:
            self._drop_log()
            self._log = fds[0]

    def _on_end(self) -> None:
        self._loop.unwatch(self._pidfd)
        found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._pid = None
        if found is not None and found.si_code == os.CLD_EXITED and found.si_status == 0:
            self._watch()  # it was asked to end: whoever waits starts another one
            return
        reason = _last_words(self._log)
        self._drop_log()
        self._refuse(f"the engine did not start or ended: {reason} (sandbox, {_LOG})")
        self._watch()

    def _refuse(self, text: str) -> None:
        """Tell everybody who waits, in the form of the engine's own errors."""
        body = b'{"message":"%s"}\n' % _json_text(text)
        head = (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n"
        ) % len(body)
        for _ in range(_BACKLOG + 1):
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self._loop.start(_answer(self._loop, client, head + body))

    def _drop_log(self) -> None:
        if self._log is not None:
            os.close(self._log)
            self._log = None


async def _answer(loop: Loop, client: socket.socket, answer: bytes) -> None:
    """Answer one request, whatever it is, when its first bytes are there."""
    with client:
        client.settimeout(0)
        if not await loop.readable(client.fileno(), _REQUEST_TIMEOUT_S):
            return
        try:
            client.recv(1 << 16)
            client.send(answer)
        except OSError:
            return


def _become_engine(
    place: Place, listener: socket.socket, group: int, report: socket.socket
) -> None:
    """Become the engine in the sandbox; never returns."""
    try:
        hide_from_debuggers()  # this is still the agent's memory
        os.setsid()
        leave_agent_habits()
        place.enter()
        os.chdir("/")
        log = _open_log()
        socket.send_fds(report, [b"l"], [log])
        # Out of the way of the numbers that the engine finds its own under.
        served = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
        joined = fcntl.fcntl(group, fcntl.F_DUPFD_CLOEXEC, 10)
        for number in (1, 2):
            os.dup2(log, number)
        os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
        os.dup2(served, _FIRST_FD)
        environment = {
            **{name: place.env[name] for name in _VARIABLES if name in place.env},
            "HOME": "/root",
            "PATH": prepare_runtime(place.env, DEFAULT_PATH),
            "LISTEN_FDS": "1",
            "LISTEN_PID": str(os.getpid()),
        }
        program = _find("dockerd") or "/usr/bin/dockerd"
        os.write(joined, b"0")
        os.execve(program, ["dockerd", "-H", "fd://"], environment)  # noqa: S606 - no shell
    except BaseException as error:  # noqa: BLE001 - the process ends here, the reason must get out
        os.write(2, f"dockerd: {error}\n".encode(errors="replace"))
    finally:
        os._exit(1)


def _open_log() -> int:
    os.makedirs(os.path.dirname(_LOG), exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    log = os.open(_LOG, flags, 0o640)
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    return log


def _find(program: str) -> str | None:
    for folder in DEFAULT_PATH.split(":"):
        if os.access(f"{folder}/{program}", os.X_OK):
            return f"{folder}/{program}"
    return None


def _link(path: str) -> None:
    """Let a path lead to the socket where the template's /var/run is a folder of its own."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    try:
        os.symlink(SOCKET, path)
    except OSError:  # no folder there: clients that look there find nothing
        return


def _is_to_be_up(folder: str) -> bool:
    policy = _read(f"{folder}/hostconfig.json")
    if b'"RestartPolicy":{"Name":"always"' in policy:
        return True
    if b'"RestartPolicy":{"Name":"unless-stopped"' not in policy:
        return False
    return b'"HasBeenManuallyStopped":true' not in _read(f"{folder}/config.v2.json")


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 1 << 20)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _last_words(log: int | None) -> str:
    """The last line of a log that is the sandbox's own: whatever it is, it is only text."""
    if log is None or not stat.S_ISREG(os.fstat(log).st_mode):
        return "it left no word"
    size = os.fstat(log).st_size
    text = os.pread(log, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][-_REASON_BYTES:] if lines else "it left no word"


def _json_text(text: str) -> bytes:
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"').encode()
