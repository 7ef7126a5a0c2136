# SPDX-License-Identifier: Apache-2.0
"""File trees on the host's side: what is read to be sent, and what a hostile guest sends.

Received entries are written below an open folder. Each folder is entered by its descriptor and one
checked name, never through a symbolic link, so nothing the guest sends leads elsewhere, whatever
else changes the tree meanwhile. The guest's twin is `guest/trees.py`.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

from sbx.errors import UserError
from sbx.protocol.files import (
    FileEntry,
    FolderEntry,
    LinkEntry,
    SkippedEntry,
    encode_entry,
    parse_entry,
)
from sbx.protocol.frames import CHUNK_BYTES, HEADER, FrameType, ProtocolError, encode_frame

MAX_DEPTH = 200  # folders open at once
_FLUSH_BYTES = 4 * CHUNK_BYTES
_MAX_NOTES = 100
_PERMISSIONS = 0o777  # set-uid, set-gid and sticky bits of a guest mean nothing on the host


@dataclass(slots=True, kw_only=True)
class TreeReport:
    """What was transferred."""

    entries: int = 0
    size_bytes: int = 0
    skipped: list[SkippedEntry] = field(default_factory=list[SkippedEntry])  # the first of them


class AnsweredError(Exception):
    """The peer said something while we were sending: it does not want the rest."""


class TreeSender:
    """Sends what is at a host path: folders before what is in them, then the end."""

    def __init__(self, sock: socket.socket, *, follow: bool) -> None:
        self._socket = sock
        self._follow = follow
        self._out = bytearray()
        self.report = TreeReport()

    def send(self, path: Path, *, name: str | None) -> None:
        """Send `path` as one entry called `name`, or (None) the entries of the folder `path`.

        Raises:
            OSError: it cannot be read, or the guest is gone.
        """
        if name is None:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._send_folder(folder, 0, path)
        else:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._send_entry(folder, path.name, path, shown_as=name, depth=0)
            finally:
                os.close(folder)
        self._put(encode_frame(FrameType.TREE_END))
        self._flush()

    def _send_folder(self, folder: int, depth: int, path: Path) -> None:
        """Send the entries of an open folder, and close it."""
        try:
            if depth > MAX_DEPTH:
                raise UserError(f"folders are nested too deeply: `{path}`")
            for name in sorted(os.listdir(folder)):
                self._send_entry(folder, name, path / name, shown_as=name, depth=depth)
        finally:
            os.close(folder)

    def _send_entry(self, folder: int, name: str, path: Path, *, shown_as: str, depth: int) -> None:
        facts = self._stat(folder, name)
        kind = stat.S_IFMT(facts.st_mode)
        mode, mtime_ns = stat.S_IMODE(facts.st_mode), facts.st_mtime_ns
        if kind == stat.S_IFDIR:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | self._no_follow()
            inner = os.open(name, flags, dir_fd=folder)
            self._put(encode_entry(FolderEntry(name=shown_as, mode=mode, mtime_ns=mtime_ns)))
            self._send_folder(inner, depth + 1, path)
            self._put(encode_frame(FrameType.LEAVE))
        elif kind == stat.S_IFREG:
            self._send_file(folder, name, FileEntry(
                name=shown_as, mode=mode, mtime_ns=mtime_ns, size_bytes=0
            ))  # fmt: skip
        elif kind == stat.S_IFLNK:
            target = os.readlink(name, dir_fd=folder)
            self._put(encode_entry(LinkEntry(name=shown_as, target=target)))
        else:
            self._skip(path)
            return
        self.report.entries += 1

    def _skip(self, path: Path) -> None:
        if len(self.report.skipped) < _MAX_NOTES:
            reason = "not a file, folder or symbolic link"
            self.report.skipped.append(SkippedEntry(path=str(path), reason=reason))

    def _stat(self, folder: int, name: str) -> os.stat_result:
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=self._follow)
        except FileNotFoundError:
            if not self._follow:
                raise
            return os.stat(name, dir_fd=folder, follow_symlinks=False)  # a link to nowhere

    def _send_file(self, folder: int, name: str, entry: FileEntry) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | self._no_follow()
        fd = os.open(name, flags, dir_fd=folder)
        try:
            left = os.fstat(fd).st_size
            self._put(encode_entry(FileEntry(
                name=entry.name, mode=entry.mode, mtime_ns=entry.mtime_ns, size_bytes=left
            )))  # fmt: skip
            while left:  # what is added to the file meanwhile is not sent
                data = os.read(fd, min(CHUNK_BYTES, left))
                if not data:
                    break
                left -= len(data)
                self.report.size_bytes += len(data)
                self._put(HEADER.pack(FrameType.DATA, len(data)))
                self._put(data)
            self._put(encode_frame(FrameType.FILE_END))
        finally:
            os.close(fd)

    def _no_follow(self) -> int:
        return 0 if self._follow else os.O_NOFOLLOW

    def _put(self, data: bytes) -> None:
        self._out += data
        if len(self._out) >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if select.select([self._socket], [], [], 0)[0]:
            raise AnsweredError
        self._socket.sendall(self._out)
        self._out.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenFolder:
    fd: int
    mode: int | None  # None: it was there before and keeps what it has
    mtime_ns: int


class TreeReceiver:
    """Writes what the guest sends below `folder` (an open descriptor, the caller's).

    With `name` there is exactly one entry, and it gets this name whatever the guest calls it;
    without, the entries are those of the folder itself.
    """

    def __init__(self, folder: int, *, name: str | None) -> None:
        self._stack = [_OpenFolder(fd=folder, mode=None, mtime_ns=0)]
        self._name = name
        self._file: FileEntry | None = None
        self._file_fd = -1
        self._left = 0
        self.report = TreeReport()

    def close(self) -> None:
        """Close what an error left open."""
        if self._file_fd >= 0:
            os.close(self._file_fd)
            self._file_fd = -1
        while len(self._stack) > 1:
            os.close(self._stack.pop().fd)

    def take(self, kind: FrameType, payload: bytes) -> bool:
        """Carry out one frame; False at the end of the tree.

        Raises:
            ProtocolError: it does not fit here.
            OSError: it cannot be written.
        """
        if self._file is not None and kind not in (FrameType.DATA, FrameType.FILE_END):
            raise ProtocolError("a file is not at its end")
        match kind:
            case FrameType.DATA:
                self._write(payload)
            case FrameType.FILE_END:
                self._end_file()
            case FrameType.LEAVE:
                self._leave()
            case FrameType.TREE_END:
                self._end_tree()
                return False
            case _:
                self._begin(kind, payload)
        return True

    def _begin(self, kind: FrameType, payload: bytes) -> None:
        entry = parse_entry(kind, payload)
        if isinstance(entry, SkippedEntry):
            if len(self.report.skipped) < _MAX_NOTES:
                self.report.skipped.append(entry)
            return
        name = self._place(entry.name)
        match entry:
            case FolderEntry():
                self._enter(name, entry)
            case FileEntry():
                self._begin_file(name, entry)
            case LinkEntry():
                parent = self._stack[-1].fd
                _make_room(name, parent)
                os.symlink(entry.target, name, dir_fd=parent)
        self.report.entries += 1

    def _place(self, name: str) -> str:
        """The name on the host: ours for the single entry at the top, the guest's below it."""
        if len(self._stack) > 1 or self._name is None:
            return name
        if self.report.entries:
            raise ProtocolError("more than the one entry that was asked for")
        return self._name

    def _enter(self, name: str, entry: FolderEntry) -> None:
        if len(self._stack) > MAX_DEPTH:
            raise ProtocolError("folders are nested too deeply")
        parent = self._stack[-1].fd
        mode: int | None = entry.mode & _PERMISSIONS
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            mode = None
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=parent)
        self._stack.append(_OpenFolder(fd=fd, mode=mode, mtime_ns=entry.mtime_ns))

    def _leave(self) -> None:
        if len(self._stack) == 1:
            raise ProtocolError("left a folder that was not entered")
        folder = self._stack.pop()
        try:
            if folder.mode is not None:
                os.fchmod(folder.fd, folder.mode)
                os.utime(folder.fd, ns=(folder.mtime_ns, folder.mtime_ns))
        finally:
            os.close(folder.fd)

    def _begin_file(self, name: str, entry: FileEntry) -> None:
        parent = self._stack[-1].fd
        _make_room(name, parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file_fd = os.open(name, flags, 0o600, dir_fd=parent)
        self._file, self._left = entry, entry.size_bytes

    def _write(self, data: bytes) -> None:
        if self._file is None or len(data) > self._left:
            raise ProtocolError("more data than the file's size")
        self._left -= len(data)
        self.report.size_bytes += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file_fd, view) :]

    def _end_file(self) -> None:
        if self._file is None:
            raise ProtocolError("the end of no file")
        entry, fd = self._file, self._file_fd
        self._file, self._file_fd = None, -1
        try:
            os.fchmod(fd, entry.mode & _PERMISSIONS)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _end_tree(self) -> None:
        if len(self._stack) != 1:
            raise ProtocolError("the tree ends inside a folder")


def _make_room(name: str, parent: int) -> None:
    """Remove a file or link of that name. A folder in the way is an error, never emptied."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EPERM) and _is_folder(name, parent):
            raise IsADirectoryError(errno.EISDIR, "a folder is in the way", name) from None
        raise


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
