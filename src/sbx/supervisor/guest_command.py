# SPDX-License-Identifier: Apache-2.0
"""A short command that a supervisor runs inside its sandbox, bounded in time and in its words."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from sbx.agent.session import EndKind, ExecEnd, ExecRequest, Session, Streams
from sbx.errors import PermanentError, TransientError
from sbx.system.files import owned_fd
from sbx.system.text import printable

OpenSession = Callable[[], Awaitable[socket.socket]]
_TIMEOUT_S = 120.0
_MAX_OUTPUT_BYTES = 16 << 10


async def must(
    open_session: OpenSession, argv: Sequence[str], *, user: str, timeout_s: float = _TIMEOUT_S
) -> str:
    """The output of a command inside, which must succeed.

    Raises:
        PermanentError: it failed, in its own words.
        TransientError: it did not end in time.
    """
    request = ExecRequest(argv=tuple(argv), user=user, workdir="/", stdin=False)
    with await open_session() as sock:
        running = asyncio.create_task(
            asyncio.to_thread(_collect, sock, request), name="guest-command"
        )
        try:
            async with asyncio.timeout(timeout_s):
                end, words = await asyncio.shield(running)
        except TimeoutError as error:
            raise TransientError("a command in the sandbox does not end in time") from error
        finally:
            if not running.done():
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                await asyncio.gather(running, return_exceptions=True)
    text = words.decode(errors="replace")
    if end.kind is not EndKind.EXITED or end.status != 0:
        raise PermanentError(
            "a command of sbx failed in the sandbox", details=printable(end.message or text[-2000:])
        )
    return text


def _collect(sock: socket.socket, request: ExecRequest) -> tuple[ExecEnd, bytes]:
    """Run a command inside to its end; the first bytes of what it says."""
    fd = os.memfd_create("guest-command", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with owned_fd(fd):
        os.truncate(fd, _MAX_OUTPUT_BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)  # it may say what it likes
        end = Session(sock).exec(request, Streams(stdin=None, stdout=fd, stderr=fd))
        return end, os.pread(fd, _MAX_OUTPUT_BYTES, 0).rstrip(b"\0")
