# SPDX-License-Identifier: Apache-2.0
"""The command line's end of the control socket: synchronous, every wait bounded.

The messages are loaded by what needs them: `sbx exec` does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sbx.errors import OutcomeUnknownError, PermanentError, TransientError

if TYPE_CHECKING:
    from sbx.control.messages import Reply, Request

_MAX_FDS = 4
MAX_LINE_BYTES = 256 << 10
# What most commands ask for, so that they need not load all the messages to say it.
SESSION = b'{"generation":1,"verb":"session"}\n'


@dataclass(slots=True)
class ControlClient:
    """One connection to a supervisor."""

    sock: socket.socket
    fds: list[int] = field(default_factory=list[int])
    _buffer: bytes = b""

    def ask(self, request: Request, *, timeout_s: float | None) -> Reply:
        """Send a request and wait for its reply; `None` waits as long as the supervisor lives.

        Raises:
            OutcomeUnknownError: it was sent and no answer came.
            SbxError: what the supervisor reports.
        """
        self.send(request)
        return self.receive(timeout_s=timeout_s)

    def send(self, request: Request) -> None:
        """Send a request and do not wait.

        Raises:
            OutcomeUnknownError: the supervisor went away.
        """
        from sbx.system import codec

        self._send(json.dumps(codec.to_json(request)).encode() + b"\n")

    def session(self, *, timeout_s: float) -> int:
        """Ask for a session: its connected socket, which the caller owns (raises as `ask`)."""
        self._send(SESSION)
        line = self._receive_line(timeout_s)
        with contextlib.suppress(ValueError, AttributeError):
            if json.loads(line).get("problem") is None:
                return self.take_fd()
        _checked(line)
        raise PermanentError("the supervisor's answer is not understood")

    def receive(self, *, timeout_s: float | None) -> Reply:
        """Wait for the reply to a sent request (raises as `ask`)."""
        return _checked(self._receive_line(timeout_s))

    def _send(self, line: bytes) -> None:
        try:
            self.sock.sendall(line)
        except OSError as error:
            raise OutcomeUnknownError(f"the supervisor went away: {error.strerror}") from error

    def _receive_line(self, timeout_s: float | None) -> bytes:
        self.sock.settimeout(timeout_s)
        try:
            line = self._line()
        except TimeoutError as error:
            raise OutcomeUnknownError(
                f"the supervisor did not answer within {timeout_s} s"
            ) from error
        except OSError as error:
            raise OutcomeUnknownError(f"the supervisor went away: {error.strerror}") from error
        if not line:
            raise OutcomeUnknownError("the supervisor went away without an answer")
        return line

    def take_fd(self) -> int:
        """The descriptor that came with the last reply; the caller owns it."""
        if not self.fds:
            raise PermanentError("the supervisor sent no descriptor")
        return self.fds.pop(0)

    def wait_closed(self) -> None:
        """Wait until the supervisor is gone."""
        self.sock.settimeout(None)
        with contextlib.suppress(OSError):
            while self.sock.recv(4096):
                pass

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            data, fds, _flags, _address = socket.recv_fds(self.sock, 65536, _MAX_FDS)
            self.fds += fds
            if not data:
                return b""
            self._buffer += data
            if len(self._buffer) > MAX_LINE_BYTES:
                raise PermanentError("the supervisor's answer is too long")
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line


def _checked(line: bytes) -> Reply:
    """A reply that reports no problem; a problem is raised."""
    from sbx.control.messages import Reply, to_error
    from sbx.system import codec

    try:
        reply = codec.loads(Reply, line)
    except codec.CodecError as error:
        raise PermanentError(
            f"the supervisor's answer is not understood: {error}",
            hint="It may run another version: stop and start the sandbox",
        ) from error
    if reply.problem is not None:
        raise to_error(reply.problem)
    return reply


@contextlib.contextmanager
def connect(path: Path, *, timeout_s: float = 5.0) -> Generator[ControlClient]:
    """Connect to a supervisor's control socket.

    Raises:
        TransientError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(timeout_s)
    client = ControlClient(sock)
    try:
        try:
            sock.connect(str(path))
        except OSError as error:
            raise TransientError(f"no supervisor listens on `{path}`") from error
        yield client
    finally:
        for fd in client.fds:
            os.close(fd)
        sock.close()
