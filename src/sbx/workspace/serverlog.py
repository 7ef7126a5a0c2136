# SPDX-License-Identifier: Apache-2.0
"""What the file server says, kept in a file that cannot grow: a guest can provoke messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from sbx.errors import HostError

LIMIT_BYTES = 256 << 10
_TAIL_BYTES = 2000
_END_TIMEOUT_S = 2.0


class ServerLog(asyncio.Protocol):
    """Keeps the start of the output, and drops the rest so that the server never waits for us."""

    def __init__(self, path: Path, file: BinaryIO, writer: int) -> None:
        self.writer = writer  # for the server; ours until `close_writer`
        self._path = path
        self._file = file
        self._room = LIMIT_BYTES
        self._ended = asyncio.Event()
        self._closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._file.write(data[: self._room])
        self._room = max(0, self._room - len(data))

    def eof_received(self) -> None:
        self._ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()
        self._closed.set()

    def close_writer(self) -> None:
        """Close our copy, once the server has its own, so that its end is the end of the pipe."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def closed(self) -> None:
        """Wait until the pipe is closed on our side."""
        await self._closed.wait()

    async def last_words(self) -> str | None:
        """The end of what was said; waits a moment for a server that has just ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT_S):
                await self._ended.wait()
        text = self._path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        return text.strip() or None


@contextlib.asynccontextmanager
async def open_log(path: Path) -> AsyncGenerator[ServerLog]:
    """A new log at `path`.

    Raises:
        HostError: the file cannot be written.
    """
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise HostError(f"cannot write `{path}`: {error.strerror}") from error
    reader, writer = os.pipe()
    log = ServerLog(path, file, writer)
    with file, os.fdopen(reader, "rb") as pipe:
        try:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_read_pipe(lambda: log, pipe)
            try:
                yield log
            finally:
                transport.close()
                await log.closed()
        finally:
            log.close_writer()
