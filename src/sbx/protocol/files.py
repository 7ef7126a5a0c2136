# SPDX-License-Identifier: Apache-2.0
"""The session channel's messages for files: the requests, and the entries of a tree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sbx.protocol.fields import Body, encode_message, parse
from sbx.protocol.frames import FrameType, ProtocolError

_MAX_SIZE = 1 << 62
_MAX_MODE = 0o7777


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


FileRequest = GetRequest | PutRequest | StatRequest


def encode_request(request: FileRequest) -> bytes:
    """The OPEN frame of a request."""
    return encode_message(FrameType.OPEN, _body(request))


def _body(request: FileRequest) -> Body:
    match request:
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
