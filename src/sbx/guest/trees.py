# SPDX-License-Identifier: Apache-2.0
"""File trees on a connection: a walk that is sent, and a walk that is written down.

Runs in a forked child that has entered the sandbox's files, with a blocking socket: a share that
hangs holds up this transfer and nothing else. The host's twin is `sbx.agent.trees`.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from .wire import (
    CHUNK_BYTES,
    DATA,
    ENTER,
    FILE,
    FILE_END,
    HEADER,
    LEAVE,
    LINK,
    SKIPPED,
    TREE_END,
    TREE_IN,
    Decoder,
    Fields,
    WireError,
    frame,
    message,
    parse,
)

MAX_DEPTH = 200  # folders open at once
_FLUSH_BYTES = 4 * CHUNK_BYTES


class TreeError(Exception):
    """The transfer cannot go on, with a sentence for the user."""


class TreeSender:
    """Sends what is at a path: folders before what is in them, then the end."""

    def __init__(self, sock: socket.socket, *, follow: bool) -> None:
        self._socket = sock
        self._follow = follow
        self._out = bytearray()

    def send(self, path: str, *, contents: bool) -> None:
        """Send `path` as one entry, or (`contents`) the entries of the folder `path`."""
        parent, _, name = path.rstrip("/").rpartition("/")
        if contents or not name:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._send_folder(folder, 0, path)
        else:
            folder = os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._send_entry(folder, name, 0, path)
            finally:
                os.close(folder)
        self._put(frame(TREE_END))
        self._flush()

    def _send_folder(self, folder: int, depth: int, shown: str) -> None:
        """Send the entries of an open folder, and close it."""
        try:
            if depth > MAX_DEPTH:
                raise TreeError(f"folders are nested too deeply: {shown}")
            for name in sorted(os.listdir(folder)):
                self._send_entry(folder, name, depth, f"{shown}/{name}")
        finally:
            os.close(folder)

    def _send_entry(self, folder: int, name: str, depth: int, shown: str) -> None:
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=self._follow)
        except FileNotFoundError:
            if not self._follow:
                raise
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)  # a link to nowhere
        kind = stat.S_IFMT(facts.st_mode)
        body: dict[str, object] = {
            "name": name,
            "mode": stat.S_IMODE(facts.st_mode),
            "mtime_ns": facts.st_mtime_ns,
        }
        if kind == stat.S_IFDIR:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | self._no_follow()
            inner = os.open(name, flags, dir_fd=folder)
            self._put(message(ENTER, body))
            self._send_folder(inner, depth + 1, shown)
            self._put(frame(LEAVE))
        elif kind == stat.S_IFREG:
            self._send_file(folder, name, body)
        elif kind == stat.S_IFLNK:
            self._put(message(LINK, {"name": name, "target": os.readlink(name, dir_fd=folder)}))
        else:
            reason = "not a file, folder or symbolic link"
            self._put(message(SKIPPED, {"path": shown[-4096:], "reason": reason}))

    def _send_file(self, folder: int, name: str, body: dict[str, object]) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | self._no_follow()
        fd = os.open(name, flags, dir_fd=folder)
        try:
            left = os.fstat(fd).st_size
            body["size"] = left
            self._put(message(FILE, body))
            while left:  # what is added to the file meanwhile is not sent
                data = os.read(fd, min(CHUNK_BYTES, left))
                if not data:
                    break
                left -= len(data)
                self._put(HEADER.pack(DATA, len(data)))
                self._put(data)
            self._put(frame(FILE_END))
        finally:
            os.close(fd)

    def _no_follow(self) -> int:
        return 0 if self._follow else os.O_NOFOLLOW

    def _put(self, data: bytes) -> None:
        self._out += data
        if len(self._out) >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._out)
        self._out.clear()


class TreeWriter:
    """Writes received entries below an open folder, never through a symbolic link.

    Each folder is entered by its descriptor and a single checked name, so no name and no link can
    lead elsewhere, whatever else changes the tree meanwhile.
    """

    def __init__(self, folder: int, owner: tuple[int, int] | None) -> None:
        self._stack: list[tuple[int, int, int]] = [(folder, -1, 0)]  # descriptor, mode, mtime_ns
        self._owner = owner
        self._file = -1
        self._left = 0
        self._facts = (0, 0)

    def close(self) -> None:
        """Close what is open; after an error there is something."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        while len(self._stack) > 1:
            os.close(self._stack.pop()[0])

    def take(self, kind: int, payload: bytes) -> bool:
        """Carry out one frame; False at the end of the tree.

        Raises:
            WireError: it does not fit here.
            OSError: it cannot be written.
        """
        if self._file >= 0 and kind not in (DATA, FILE_END):
            raise WireError("a file is not at its end")
        if kind == ENTER:
            self._enter(parse(payload))
        elif kind == LEAVE:
            self._leave()
        elif kind == FILE:
            self._begin_file(parse(payload))
        elif kind == DATA:
            self._write(payload)
        elif kind == FILE_END:
            self._end_file()
        elif kind == LINK:
            self._link(parse(payload))
        elif kind == TREE_END:
            if len(self._stack) != 1:
                raise WireError("the tree ends inside a folder")
            return False
        return True

    def _enter(self, fields: Fields) -> None:
        if len(self._stack) > MAX_DEPTH:
            raise WireError("folders are nested too deeply")
        name, mode, mtime_ns = entry_name(fields), _mode(fields), _mtime(fields)
        parent = self._stack[-1][0]
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            mode = -1  # a folder that was there keeps its mode and owner
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(name, flags, dir_fd=parent)
        self._stack.append((folder, mode, mtime_ns))
        if mode >= 0 and self._owner is not None:
            os.fchown(folder, *self._owner)

    def _leave(self) -> None:
        if len(self._stack) == 1:
            raise WireError("left a folder that was not entered")
        folder, mode, mtime_ns = self._stack.pop()
        try:
            if mode >= 0:
                os.fchmod(folder, mode)
                os.utime(folder, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(folder)

    def _begin_file(self, fields: Fields) -> None:
        name, parent = entry_name(fields), self._stack[-1][0]
        self._facts = (_mode(fields), _mtime(fields))
        self._left = fields.integer("size", 0, 1 << 62)
        _remove(name, parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(name, flags, 0o600, dir_fd=parent)
        if self._owner is not None:
            os.fchown(self._file, *self._owner)

    def _write(self, data: bytes) -> None:
        if self._file < 0 or len(data) > self._left:
            raise WireError("more data than the file's size")
        self._left -= len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def _end_file(self) -> None:
        if self._file < 0:
            raise WireError("the end of no file")
        mode, mtime_ns = self._facts
        fd, self._file = self._file, -1
        try:
            os.fchmod(fd, mode)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _link(self, fields: Fields) -> None:
        name, parent = entry_name(fields), self._stack[-1][0]
        _remove(name, parent)
        os.symlink(fields.text("target"), name, dir_fd=parent)
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)


def receive_tree(sock: socket.socket, writer: TreeWriter) -> None:
    """Write down everything up to the end of the tree."""
    decoder = Decoder(TREE_IN)
    while True:
        found = decoder.next()
        if found is None:
            data = sock.recv(4 * CHUNK_BYTES)
            if not data:
                raise TreeError("the client left in the middle of a transfer")
            decoder.feed(data)
        elif not writer.take(*found):
            return


def entry_name(fields: Fields) -> str:
    """A single name of a folder's entry."""
    name = fields.text("name", 255)
    if name in ("", ".", "..") or "/" in name:
        raise WireError("not a name")
    return name


def _mode(fields: Fields) -> int:
    return fields.integer("mode", 0, 0o7777)


def _mtime(fields: Fields) -> int:
    return fields.integer("mtime_ns", -(1 << 62), 1 << 62)


def _remove(name: str, parent: int) -> None:
    """Make room for a file or link; a folder stays, and is an error when the new entry is made."""
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
