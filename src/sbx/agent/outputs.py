# SPDX-License-Identifier: Apache-2.0
"""Writing to the caller's standard output and error without ever blocking on them.

Their descriptors are shared with other programs, so O_NONBLOCK cannot be set on them. A pipe or
terminal is opened once more instead; where that is not allowed, writes are small enough to fit.
"""

from __future__ import annotations

import os
import select
import stat

_SAFE_BYTES = select.PIPE_BUF  # poll(2) says writable: so much fits into a pipe at once


class Output:
    """One output with a queue. Owns a private descriptor, never the caller's."""

    def __init__(self, fd: int) -> None:
        self._given = fd
        mode = os.fstat(fd).st_mode
        self.is_pollable = not stat.S_ISREG(mode)
        self._limit: int | None = None
        private = _reopen(fd) if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) else None
        if private is None:
            private = os.dup(fd)
            self._limit = _SAFE_BYTES if self.is_pollable else None
        self.fd = private
        self._queue = bytearray()
        self.is_closed = False
        self.is_ending = False

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return len(self._queue)

    def write(self, data: bytes) -> None:
        """Queue data, and write it at once where that cannot block."""
        if self.is_closed:
            return
        self._queue += data
        if not self.is_pollable or self._limit is None:
            self.flush()

    def flush(self) -> None:
        """Write what fits; nobody reading is not an error but closes the output."""
        while self._queue and not self.is_closed:
            try:
                with memoryview(self._queue) as view:
                    written = os.write(self.fd, view[: self._limit])
            except BlockingIOError:
                return
            except OSError:  # EPIPE, EIO, ENOSPC: whatever it is, no more goes out here
                self.close()
                return
            del self._queue[:written]
            if self._limit is not None:
                break
        if self.is_ending and not self._queue and not self.is_closed:
            self.close()
            self._end_given()

    def close(self) -> None:
        """Drop what is queued and close our descriptor."""
        if not self.is_closed:
            self.is_closed = True
            self._queue.clear()
            os.close(self.fd)

    def end(self) -> None:
        """Let the caller's reader see the end after what is queued."""
        self.is_ending = True
        self.flush()

    def _end_given(self) -> None:
        """Put /dev/null in the place of the caller's descriptor."""
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(null, self._given, inheritable=os.get_inheritable(self._given))
        finally:
            os.close(null)


def _reopen(fd: int) -> int | None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return None
