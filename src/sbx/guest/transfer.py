# SPDX-License-Identifier: Apache-2.0
"""The requests about files: put, get, stat, each in a forked child in the sandbox's files."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable

from .conn import Connection
from .launch import leave_agent_habits
from .loop import READ, Loop
from .place import Place
from .syscalls import die_with_parent, hide_from_debuggers
from .trees import TreeError, TreeSender, TreeWriter, receive_tree
from .users import UserError, find_user
from .wire import FACTS, FAILED, STARTED, TREE_END, Fields, WireError, frame, message

_GOODBYE_S = 5.0
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


class Transfer:
    """A forked child that serves one request about files on the connection."""

    def __init__(self, loop: Loop, place: Place, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._place = place
        self._on_change = on_change
        self._pidfd = -1
        self.is_over = False
        self.is_attached = True

    def start(self, kind: str, fields: Fields, connection: Connection) -> None:
        """Hand the connection to a child that serves the request.

        Raises:
            WireError: the request does not fit, or more was sent with it.
        """
        serve = _REQUESTS[kind](fields)
        if connection.pending:
            raise WireError("data came before the request was accepted")
        sock = connection.detach()
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(serve, self._place, sock)
        finally:
            sock.close()
        self._pidfd = os.pidfd_open(pid)
        self._loop.watch(self._pidfd, READ, lambda _events: self._on_child_end())

    def stop(self) -> None:
        """KILL the child."""
        if not self.is_over:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_child_end(self) -> None:
        self._loop.unwatch(self._pidfd)
        os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self.is_over, self.is_attached = True, False
        self._on_change()


Serve = Callable[[socket.socket], None]


def _run_child(serve: Serve, place: Place, sock: socket.socket) -> None:
    status = 1
    try:
        hide_from_debuggers()
        die_with_parent()
        leave_agent_habits()
        place.enter_files()
        serve(sock)
        status = 0
    except (OSError, TreeError, WireError, UserError) as error:
        _refuse(sock, error)
    finally:
        _say_goodbye(sock)
        os._exit(status)


def _refuse(sock: socket.socket, error: Exception) -> None:
    text = str(error)
    if isinstance(error, OSError):
        text = f"{(error.strerror or 'failed').lower()}: {error.filename}"
    try:
        sock.sendall(message(FAILED, {"code": "files", "message": text[:4096], "status": 1}))
    except OSError:
        return


def _say_goodbye(sock: socket.socket) -> None:
    """Read the peer's last bytes, so that a reset does not destroy ours."""
    try:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(_GOODBYE_S)
        while sock.recv(1 << 16):
            pass
    except OSError:
        return


def _get(fields: Fields) -> Serve:
    path, follow, contents = _path(fields), fields.flag("follow"), fields.flag("contents")

    def serve(sock: socket.socket) -> None:
        sock.sendall(message(STARTED, {}))
        TreeSender(sock, follow=follow).send(path, contents=contents)

    return serve


def _put(fields: Fields) -> Serve:
    path, user = _path(fields), fields.text("owner", 256)

    def serve(sock: socket.socket) -> None:
        owner = find_user(user)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sock.sendall(message(STARTED, {}))
        writer = TreeWriter(folder, (owner.uid, owner.gid))
        try:
            receive_tree(sock, writer)
        finally:
            writer.close()
        sock.sendall(frame(TREE_END))

    return serve


def _stat(fields: Fields) -> Serve:
    path, follow = _path(fields), fields.flag("follow")

    def serve(sock: socket.socket) -> None:
        body: dict[str, object] = {"kind": None}
        try:
            facts = os.stat(path, follow_symlinks=follow)
        except (FileNotFoundError, NotADirectoryError):
            sock.sendall(message(FACTS, body))
            return
        body["kind"] = _KINDS.get(stat.S_IFMT(facts.st_mode), "other")
        body |= {"mode": stat.S_IMODE(facts.st_mode), "size": facts.st_size}
        sock.sendall(message(FACTS, body))

    return serve


def _path(fields: Fields) -> str:
    path = fields.text("path")
    if not path.startswith("/"):
        raise WireError("`path`: not absolute")
    return path


_REQUESTS: dict[str, Callable[[Fields], Serve]] = {"get": _get, "put": _put, "stat": _stat}
FILE_REQUESTS = frozenset(_REQUESTS)
