# SPDX-License-Identifier: Apache-2.0
"""A guest session server for a test, and a way to run commands through it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbx.agent.file_session import FileSession
from sbx.agent.handshake import authenticate
from sbx.agent.pump import Controls, ExecEnd, Streams
from sbx.agent.session import ExecRequest
from tests.kit.guest_server import KEY

_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command left."""

    end: ExecEnd
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A running server."""

    port: int
    pid: int

    def dial(self) -> socket.socket:
        """A connected socket that has proved nothing."""
        return socket.create_connection(("127.0.0.1", self.port))

    def connect(self) -> socket.socket:
        """A connected, authenticated socket."""
        sock = self.dial()
        try:
            sock.setblocking(False)
            asyncio.run(authenticate(sock, KEY))
            sock.setblocking(True)
        except BaseException:
            sock.close()
            raise
        return sock

    @contextlib.contextmanager
    def session(self) -> Generator[FileSession]:
        with self.connect() as sock:
            yield FileSession(sock)

    def run(self, *argv: str, stdin: bytes = b"", request: ExecRequest | None = None) -> Ran:
        """Run a command to its end with pipes as its streams."""
        with self.connect() as sock:
            return run_over(sock, request or ExecRequest(argv=argv), stdin=stdin)


def run_over(
    sock: socket.socket,
    request: ExecRequest,
    *,
    stdin: bytes = b"",
    controls: Controls | None = None,
    detach_keys: bytes = b"",
) -> Ran:
    """Run a command on a connected socket with pipes as its streams."""
    streams = [os.pipe() for _ in range(3)]
    (stdin_read, stdin_write), (stdout_read, stdout_write), (stderr_read, stderr_write) = streams
    found: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=_write_all, args=(stdin_write, stdin)),
        threading.Thread(target=_read_all, args=(stdout_read, found)),
        threading.Thread(target=_read_all, args=(stderr_read, found)),
    ]
    for thread in threads:
        thread.start()
    try:
        end = FileSession(sock).exec(
            request,
            Streams(stdin=stdin_read, stdout=stdout_write, stderr=stderr_write),
            controls=controls,
            detach_keys=detach_keys,
        )
    finally:
        for fd in (stdin_read, stdout_write, stderr_write):
            os.close(fd)
        for thread in threads:
            thread.join()
    return Ran(end=end, stdout=found[stdout_read], stderr=found[stderr_read])


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(BrokenPipeError):
        while view:
            view = view[os.write(fd, view[:65536]) :]
    os.close(fd)


def _read_all(fd: int, found: dict[int, bytes]) -> None:
    parts: list[bytes] = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    found[fd] = b"".join(parts)


@contextlib.contextmanager
def run_guest(mode: str, folder: Path) -> Generator[Guest]:
    """Start a server; at the end of the block it and its sandbox are gone."""
    command: Sequence[str] = [
        sys.executable,
        "-P",
        "-m",
        "tests.kit.guest_server",
        mode,
        str(folder),
    ]
    child = subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, "the server did not start"
        yield Guest(port=int(line), pid=child.pid)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(10) == 0
