# SPDX-License-Identifier: Apache-2.0
"""The session channel's messages: one request per connection, and what comes back."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum

from sbx.protocol.fields import Body, encode_message, parse
from sbx.protocol.frames import FrameType, ProtocolError, encode_frame

_MAX_SIZE = 1 << 62
_MAX_MODE = 0o7777
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRequest:
    """Send what is at a path of the sandbox."""

    path: str  # absolute
    follow: bool = False  # symbolic links: send what they point to
    contents: bool = False  # the entries of the folder, without the folder itself


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRequest:
    """Take entries into a folder of the sandbox."""

    path: str  # absolute, an existing folder
    owner: str  # NAME|UID[:GROUP|GID]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatRequest:
    """Tell what is at a path of the sandbox."""

    path: str  # absolute
    follow: bool = True


Request = ExecRequest | GetRequest | PutRequest | StatRequest


def encode_open(request: Request) -> bytes:
    """The OPEN frame of a request."""
    return encode_message(FrameType.OPEN, _body(request))


def _body(request: Request) -> Body:
    match request:
        case ExecRequest():
            tty = request.terminal
            shape: Body | None = None
            if tty is not None:
                shape = {"rows": tty.rows, "cols": tty.cols, "term": tty.term}
            return {
                "type": "exec",
                "argv": list(request.argv),
                "env": dict(request.env),
                "user": request.user,
                "workdir": request.workdir,
                "tty": shape,
                "stdin": request.stdin,
            }
        case GetRequest():
            return {
                "type": "get",
                "path": request.path,
                "follow": request.follow,
                "contents": request.contents,
            }
        case PutRequest():
            return {"type": "put", "path": request.path, "owner": request.owner}
        case StatRequest():
            return {"type": "stat", "path": request.path, "follow": request.follow}


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


class PathKind(StrEnum):
    """What is at a path."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


def parse_facts(payload: bytes) -> PathKind | None:
    """The payload of a FACTS frame; None if nothing is there."""
    name = parse(payload).text_or_none("kind", 16)
    if name is None:
        return None
    return {kind.value: kind for kind in PathKind}.get(name, PathKind.OTHER)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEntry:
    """A folder; what follows up to LEAVE is in it."""

    name: str
    mode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file; its DATA follows, at most `size_bytes` of it, up to FILE_END."""

    name: str
    mode: int
    mtime_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEntry:
    """A symbolic link."""

    name: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedEntry:
    """Something that is not transferred: a device, a socket, a pipe."""

    path: str
    reason: str


Entry = FolderEntry | FileEntry | LinkEntry | SkippedEntry


def encode_entry(entry: FolderEntry | FileEntry | LinkEntry) -> bytes:
    """The frame that announces an entry."""
    match entry:
        case LinkEntry():
            return encode_message(FrameType.LINK, {"name": entry.name, "target": entry.target})
        case FolderEntry():
            body: Body = {"name": entry.name, "mode": entry.mode, "mtime_ns": entry.mtime_ns}
            return encode_message(FrameType.ENTER, body)
        case FileEntry():
            body = {
                "name": entry.name,
                "mode": entry.mode,
                "mtime_ns": entry.mtime_ns,
                "size": entry.size_bytes,
            }
            return encode_message(FrameType.FILE, body)


def parse_entry(kind: FrameType, payload: bytes) -> Entry:
    """The payload of an ENTER, FILE, LINK or SKIPPED frame.

    Raises:
        ProtocolError: it does not fit; a name that is not a single one does not.
    """
    fields = parse(payload)
    if kind is FrameType.SKIPPED:
        return SkippedEntry(path=fields.text("path"), reason=fields.text("reason", 256))
    name = fields.text("name", 255)
    if name in ("", ".", "..") or "/" in name:
        raise ProtocolError("not the name of an entry")
    if kind is FrameType.LINK:
        return LinkEntry(name=name, target=fields.text("target"))
    mode = fields.integer("mode", 0, _MAX_MODE)
    mtime_ns = fields.integer("mtime_ns", -_MAX_SIZE, _MAX_SIZE)
    if kind is FrameType.ENTER:
        return FolderEntry(name=name, mode=mode, mtime_ns=mtime_ns)
    if kind is FrameType.FILE:
        size = fields.integer("size", 0, _MAX_SIZE)
        return FileEntry(name=name, mode=mode, mtime_ns=mtime_ns, size_bytes=size)
    raise ProtocolError(f"frame type {kind:#04x} is not an entry")
