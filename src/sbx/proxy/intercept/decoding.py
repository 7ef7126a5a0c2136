# SPDX-License-Identifier: Apache-2.0
"""Bodies that a server compressed although it was asked not to: what is taken out must be seen."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from typing import Protocol

_PIECE = 64 * 1024  # so that a small body cannot become a large one at once


class BadCodingError(Exception):
    """A body whose coding we do not read, or that is damaged."""


class Decoder(Protocol):
    """Undoes a coding."""

    def feed(self, data: bytes) -> Generator[bytes]:
        """What the next piece holds, in bounded pieces (BadCodingError)."""
        ...


class Plain:
    """No coding."""

    def feed(self, data: bytes) -> Generator[bytes]:
        yield data


class Inflate:
    """gzip, of several members too, or zlib."""

    def __init__(self) -> None:
        self._zip = zlib.decompressobj(wbits=47)  # either of the two

    def feed(self, data: bytes) -> Generator[bytes]:
        try:
            while data:
                if self._zip.eof:
                    self._zip = zlib.decompressobj(wbits=47)
                if found := self._zip.decompress(data, _PIECE):
                    yield found
                data = self._zip.unconsumed_tail or self._zip.unused_data
        except zlib.error as error:
            raise BadCodingError("a compressed answer is damaged") from error


def decoder(codings: bytes) -> Decoder:
    """The decoder for a `Content-Encoding`.

    Raises:
        BadCodingError: it is one that we do not read.
    """
    match codings.strip().lower():
        case b"" | b"identity":
            return Plain()
        case b"gzip" | b"x-gzip" | b"deflate":
            return Inflate()
        case _:
            raise BadCodingError("the server compressed its answer in a way that was not asked for")
