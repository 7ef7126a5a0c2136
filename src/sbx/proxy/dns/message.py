# SPDX-License-Identifier: Apache-2.0
"""DNS messages (RFC 1035, EDNS of RFC 6891): questions that the guest wrote, and our answers.

A question is read strictly: one question, no compression, nothing left over. Its bytes go back as
they came, so that clients that play with the case of letters recognise their name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

MAX_MESSAGE = 4096  # bytes; a question is below 300, the rest are options
ANSWER_SIZE = 1232  # bytes of UDP that we accept, as in the DNS flag day of 2020

_HEADER = struct.Struct("!HHHHHH")
_QUESTION_TAIL = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")  # type, class, time to live, length of the data
_QR, _TC, _RD, _RA = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_POINTER_TO_QUESTION = b"\xc0\x0c"
_MAX_NAME = 255  # bytes on the wire


class RecordType(IntEnum):
    """The record types that are spoken of."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    SVCB = 64
    HTTPS = 65
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    """Result codes."""

    NOERROR = 0
    FORMERR = 1
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


IN = 1


class BadQueryError(Exception):
    """A message that is no question; answered with `rcode`, or not at all if that is None."""

    def __init__(self, why: str, rcode: Rcode | None, header: bytes = b"") -> None:
        super().__init__(why)
        self.why = why
        self.rcode = rcode
        self.header = header


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question."""

    id: int
    flags: int
    name: str  # as written, without the final dot; bytes beyond ASCII as Latin-1
    type: int
    record_class: int
    question: bytes  # as it came
    edns: int | None = None  # the EDNS version, if the client speaks it


def parse_query(data: bytes) -> Query:
    """Read a question.

    Raises:
        BadQueryError: it is none, or not exactly one.
    """
    if len(data) < _HEADER.size:
        raise BadQueryError("shorter than a header", None)
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & _QR:
        raise BadQueryError("an answer, not a question", None)
    header = data[: _HEADER.size]
    if len(data) > MAX_MESSAGE:
        raise BadQueryError("too long", Rcode.FORMERR, header)
    if flags & _OPCODE:
        raise BadQueryError("not a standard query", Rcode.NOTIMP, header)
    if flags & _TC or questions != 1 or answers or authorities or additional > 1:
        raise BadQueryError("not exactly one question", Rcode.FORMERR, header)
    try:
        name, end = _name(data, _HEADER.size)
        kind, record_class = _QUESTION_TAIL.unpack_from(data, end)
        end += _QUESTION_TAIL.size
        question = data[_HEADER.size : end]
        edns = None
        if additional:
            edns, end = _options(data, end)
    except (struct.error, IndexError, ValueError) as error:
        raise BadQueryError(f"malformed: {error}", Rcode.FORMERR, header) from error
    if end != len(data):
        raise BadQueryError("bytes behind the question", Rcode.FORMERR, header)
    return Query(
        id=number,
        flags=flags,
        name=name,
        type=kind,
        record_class=record_class,
        question=question,
        edns=edns,
    )


def build_answer(
    query: Query, rcode: Rcode, address: IPv4Address | None = None, *, ttl_s: int = 0
) -> bytes:
    """The answer to a question, with one address or none."""
    flags = _QR | _RA | (query.flags & _RD) | (rcode & 0xF)
    extra = b""
    if query.edns is not None:
        extra = b"\0" + _RECORD.pack(RecordType.OPT, ANSWER_SIZE, (rcode >> 4) << 24, 0)
    answer = b""
    if address is not None:
        answer = _POINTER_TO_QUESTION + _RECORD.pack(RecordType.A, IN, ttl_s, 4) + address.packed
    header = _HEADER.pack(query.id, flags, 1, 1 if answer else 0, 0, 1 if extra else 0)
    return header + query.question + answer + extra


def build_error(header: bytes, rcode: Rcode) -> bytes:
    """The answer to what could not be read as a question."""
    number, flags, *_ = _HEADER.unpack(header)
    kept = flags & (_OPCODE | _RD)
    return _HEADER.pack(number, _QR | _RA | kept | (rcode & 0xF), 0, 0, 0, 0)


def build_query(number: int, name: str, kind: int) -> bytes:
    """A question, as a client writes it."""
    labels = [label.encode("latin-1") for label in name.split(".") if label]
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(number, _RD, 1, 0, 0, 0) + wire + _QUESTION_TAIL.pack(kind, IN)


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    start = at
    while length := data[at]:
        if length > 63:
            raise ValueError("a compressed or unknown label")
        label = data[at + 1 : at + 1 + length]
        if len(label) < length:
            raise ValueError("a label is cut off")
        if b"." in label:
            raise ValueError("a dot inside a label")
        labels.append(label.decode("latin-1"))
        at += 1 + length
        if at - start >= _MAX_NAME:
            raise ValueError("the name is too long")
    return ".".join(labels), at + 1


def _options(data: bytes, at: int) -> tuple[int, int]:
    """The EDNS version of the one additional record, and where it ends."""
    if data[at] != 0:
        raise ValueError("EDNS options stand under the root")
    kind, _, extended, length = _RECORD.unpack_from(data, at + 1)
    if kind != RecordType.OPT:
        raise ValueError("an additional record that is not EDNS")
    at += 1 + _RECORD.size
    end = at + length
    while at < end:
        _, size = _QUESTION_TAIL.unpack_from(data, at)
        at += _QUESTION_TAIL.size + size
    if at != end or end > len(data):
        raise ValueError("EDNS options are cut off")
    return (extended >> 16) & 0xFF, end
