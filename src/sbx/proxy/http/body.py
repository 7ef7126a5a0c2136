# SPDX-License-Identifier: Apache-2.0
"""Bodies of HTTP/1.1 messages, read strictly and piece by piece (RFC 9112, 6 and 7)."""

from __future__ import annotations

import re

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t -~]{0,256})?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_MAX_LINE = 4096
_MAX_TRAILERS = 8192


class BadBodyError(Exception):
    """A body that cannot be read in one way only, or that ends too early."""


class Body:
    """Takes a body off the front of a buffer; `done` says that it is whole."""

    done = False

    def take(self, buffer: bytearray) -> bytes:
        """What of the body is in the buffer; nothing means: read on, unless it is done.

        Raises:
            BadBodyError: it is malformed.
        """
        raise NotImplementedError

    def passes(self, data: bytes) -> bool:
        """Whether bytes that follow are all of the body: then they count as taken, uncopied."""
        return False

    def end_of_input(self) -> None:
        """No more bytes come.

        Raises:
            BadBodyError: the body is not whole.
        """
        if not self.done:
            raise BadBodyError("the body is cut off")


class NoBody(Body):
    """There is none."""

    done = True

    def take(self, buffer: bytearray) -> bytes:
        return b""


class Sized(Body):
    """Of a length that was said before."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def take(self, buffer: bytearray) -> bytes:
        data = bytes(buffer[: self._left])
        del buffer[: len(data)]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def passes(self, data: bytes) -> bool:
        if len(data) > self._left:
            return False
        self._left -= len(data)
        self.done = self._left == 0
        return True


class UntilEnd(Body):
    """Until the connection ends."""

    def take(self, buffer: bytearray) -> bytes:
        data = bytes(buffer)
        buffer.clear()
        return data

    def passes(self, data: bytes) -> bool:
        return True

    def end_of_input(self) -> None:
        self.done = True


class Chunked(Body):
    """In chunks. Their extensions and the trailers are read and left out."""

    def __init__(self) -> None:
        self._left = 0  # of the chunk
        self._first = True
        self._trailers = -1  # bytes of them so far; not there yet

    def passes(self, data: bytes) -> bool:
        if len(data) >= self._left:  # what ends a chunk is for `take`
            return False
        self._left -= len(data)
        return True

    def take(self, buffer: bytearray) -> bytes:
        found: list[bytes] = []
        while not self.done:
            if self._left:
                data = bytes(buffer[: self._left])
                if not data:
                    break
                del buffer[: len(data)]
                self._left -= len(data)
                found.append(data)
            elif not self._next(buffer):
                break
        return b"".join(found)

    def _next(self, buffer: bytearray) -> bool:
        """Read a line between chunks; whether there was a whole one."""
        start = 0
        if not self._first and self._trailers < 0:  # the line end of the chunk before
            if len(buffer) < 2:
                return False
            if bytes(buffer[:2]) != b"\r\n":
                raise BadBodyError("a chunk is longer than it says")
            start = 2
        end = buffer.find(b"\r\n", start)
        line = bytes(buffer[start : end if end >= 0 else _MAX_LINE + start + 1])
        if len(line) > _MAX_LINE or b"\n" in line or b"\r" in line[:-1]:
            raise BadBodyError("a line between chunks is malformed")
        if end < 0:
            return False
        del buffer[: end + 2]
        if self._trailers >= 0:
            self._trailer(line)
            return True
        size = _SIZE_LINE.fullmatch(line)
        if size is None:
            raise BadBodyError("the size of a chunk is malformed")
        self._first = False
        self._left = int(size[1], 16)
        if not self._left:
            self._trailers = 0
        return True

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if not line:
            self.done = True
        elif not _TRAILER.fullmatch(line) or self._trailers > _MAX_TRAILERS:
            raise BadBodyError("the trailers of a body are malformed")


def chunk(data: bytes) -> bytes:
    """One chunk, for sending; empty data makes none, since it would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"
