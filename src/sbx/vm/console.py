# SPDX-License-Identifier: Apache-2.0
"""What a machine writes: its serial console into a bounded file, QEMU's own words into memory.

A guest may write without end. The file is cut to its newer half when it is full, so it holds
between 512 KiB and 1 MiB of the newest output, and a full disk loses output, not the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from sbx.errors import HostError

MAX_LOG_BYTES = 1 << 20
TAIL_BYTES = 16 << 10


class Tail:
    """The newest bytes of a stream."""

    def __init__(self, limit_bytes: int = TAIL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * self._limit_bytes:
            del self._data[: -self._limit_bytes]

    def text(self) -> str:
        """The end of what came, as text without terminal control, except line ends and tabs."""
        newest = bytes(self._data[-self._limit_bytes :]).replace(b"\r\n", b"\n")
        raw = newest.decode(errors="replace")
        return "".join(c for c in raw if c.isprintable() or c in "\n\t")


class ConsoleLog:
    """A file that never grows beyond `limit_bytes`."""

    def __init__(self, path: Path, *, limit_bytes: int = MAX_LOG_BYTES) -> None:
        """Open `path`, keeping what an earlier run left in it.

        Raises:
            HostError: it cannot be opened.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise HostError(f"cannot open console log `{path}`: {error.strerror}") from error
        self._limit_bytes = limit_bytes
        self._size_bytes = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Append; on a full disk the data is dropped, because the machine matters more."""
        with contextlib.suppress(OSError):
            for start in range(0, len(data), self._limit_bytes // 2):
                self._append(data[start : start + self._limit_bytes // 2])

    def _append(self, data: bytes) -> None:
        if self._size_bytes + len(data) > self._limit_bytes:
            keep = self._limit_bytes // 2
            newest = os.pread(self._fd, keep, max(self._size_bytes - keep, 0))
            os.ftruncate(self._fd, 0)
            self._size_bytes = os.write(self._fd, newest)
        self._size_bytes += os.write(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)


class Capture(asyncio.Protocol):
    """Reads a stream to its end on the event loop, keeping its tail and, if given, a log."""

    def __init__(self, log: ConsoleLog | None = None) -> None:
        self.tail = Tail()
        self.ended = asyncio.Event()
        self._log = log

    def data_received(self, data: bytes) -> None:
        self.tail.add(data)
        if self._log is not None:
            self._log.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
