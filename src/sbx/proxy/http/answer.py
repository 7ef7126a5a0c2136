# SPDX-License-Identifier: Apache-2.0
"""Heads of HTTP/1.1 answers, read strictly: a server that is broken into is hostile, too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sbx.proxy.http.body import Body, Chunked, NoBody, Sized, UntilEnd
from sbx.proxy.http.head import MAX_HEAD, tokens

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_MAX_FIELDS = 256


class BadHeadError(Exception):
    """The head of an answer that cannot be read in one way only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """An answer without its body."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]  # names in lower case
    length: int | None  # as it was said
    chunked: bool
    keeps: bool  # the connection may carry another request, if the body has an end of its own

    def body(self, method: str) -> Body:
        """How its body is framed, as the answer to a request of this method."""
        if method == "HEAD" or self.status < 200 or self.status in (204, 304):
            return NoBody()
        if self.chunked:
            return Chunked()
        return UntilEnd() if self.length is None else Sized(self.length)


def answer_end(buffer: bytearray) -> int | None:
    """Where the head ends, empty line included; None if it has not ended yet.

    Raises:
        BadHeadError: it is too long.
    """
    end = buffer.find(b"\r\n\r\n")
    if (len(buffer) if end < 0 else end) > MAX_HEAD:
        raise BadHeadError("the head of the answer is too long")
    return None if end < 0 else end + 4


def parse_answer(data: bytes) -> AnswerHead:
    """Read a whole head.

    Raises:
        BadHeadError: it is malformed, or says the length of the body in two ways.
    """
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise BadHeadError("the status line of the answer is malformed")
    if len(lines) > _MAX_FIELDS:
        raise BadHeadError("the answer has too many fields")
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadHeadError("a field of the answer is malformed")
        fields.append((field[1].lower(), field[2].strip(b" \t")))
    words = tokens(fields, b"connection")
    return AnswerHead(
        status=int(status[2]),
        reason=status[3] or b"",
        fields=tuple(fields),
        length=_length(fields),
        chunked=_chunked(fields),
        keeps=b"close" not in words and (status[1] == b"1" or b"keep-alive" in words),
    )


def _length(fields: list[tuple[bytes, bytes]]) -> int | None:
    said = {value for name, value in fields if name == b"content-length"}
    if not said:
        return None
    (value, *others) = said
    if others or not _LENGTH.fullmatch(value):
        raise BadHeadError("the length of the answer is malformed")
    return int(value)


def _chunked(fields: list[tuple[bytes, bytes]]) -> bool:
    said = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if not said:
        return False
    if said != [b"chunked"] or any(name == b"content-length" for name, _ in fields):
        raise BadHeadError("the length of the answer is said in two ways")
    return True
