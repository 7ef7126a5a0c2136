# SPDX-License-Identifier: Apache-2.0
"""The session channel's messages for commands: one request per connection, and what comes back.

Those for files are in `files.py`: a command does not load them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum

from sbx.protocol.fields import Body, encode_message, parse
from sbx.protocol.frames import FrameType, ProtocolError, encode_frame

_MAX_SIGNAL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """The terminal that a command gets."""

    rows: int
    cols: int
    term: str = "xterm-256color"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """Run a command. None means the sandbox's default."""

    argv: tuple[str, ...]  # verbatim; `os.fsdecode` for raw bytes
    env: dict[str, str] = field(default_factory=dict[str, str])  # added to the defaults
    user: str | None = None  # NAME|UID[:GROUP|GID]
    workdir: str | None = None
    terminal: Terminal | None = None
    stdin: bool = True  # without it the command reads /dev/null


def encode_open(request: ExecRequest) -> bytes:
    """The OPEN frame of a command."""
    tty = request.terminal
    shape: Body | None = None
    if tty is not None:
        shape = {"rows": tty.rows, "cols": tty.cols, "term": tty.term}
    body: Body = {
        "type": "exec",
        "argv": list(request.argv),
        "env": dict(request.env),
        "user": request.user,
        "workdir": request.workdir,
        "tty": shape,
        "stdin": request.stdin,
    }
    return encode_message(FrameType.OPEN, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request that could not be carried out."""

    code: str
    message: str
    status: int  # the exit status that fits: 127 not found, 126 not runnable, 1 otherwise


def parse_failure(payload: bytes) -> Failure:
    """The payload of a FAILED frame."""
    fields = parse(payload)
    return Failure(
        code=fields.text("code", 64),
        message=fields.text("message", 8192),
        status=fields.integer("status", 1, 255),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a command ended: exactly one of both is set."""

    status: int | None = None
    signal: int | None = None


def parse_exit(payload: bytes) -> Exit:
    """The payload of an EXIT frame."""
    fields = parse(payload)
    found = Exit(
        status=fields.integer_or_none("status", 0, 255),
        signal=fields.integer_or_none("signal", 1, _MAX_SIGNAL),
    )
    if (found.status is None) == (found.signal is None):
        raise ProtocolError("neither a status nor a signal")
    return found


class Stream(StrEnum):
    """A standard stream of the command."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"


_STREAM_BYTES = {b"\0": Stream.STDIN, b"\1": Stream.STDOUT, b"\2": Stream.STDERR}


def parse_stream(payload: bytes) -> Stream:
    """The payload of a STREAM_END frame."""
    stream = _STREAM_BYTES.get(payload)
    if stream is None:
        raise ProtocolError("unknown stream")
    return stream


def parse_credit(payload: bytes) -> int:
    """The payload of a CREDIT frame: bytes of standard input that may be sent in addition."""
    if len(payload) != 4:
        raise ProtocolError("a credit has 4 bytes")
    (count,) = struct.unpack(">I", payload)
    return int(count)


def encode_output_closed(stream: Stream) -> bytes:
    """Nobody reads this output any more."""
    return encode_frame(FrameType.OUTPUT_CLOSED, b"\1" if stream is Stream.STDOUT else b"\2")


def encode_resize(rows: int, cols: int) -> bytes:
    """The terminal has another size."""
    limit = 0xFFFF
    return encode_frame(FrameType.RESIZE, struct.pack(">HH", min(rows, limit), min(cols, limit)))


def encode_signal(number: int) -> bytes:
    """Send a signal to the command's process group."""
    return encode_frame(FrameType.SIGNAL, bytes([number]))
