# SPDX-License-Identifier: Apache-2.0
"""Who runs a command: names and numbers looked up in the sandbox's own /etc/passwd and /etc/group.

Runs after the sandbox's root was entered. The files are the sandbox's: read with a bound, bad lines
are skipped.
"""

from __future__ import annotations

import os

_LIMIT_BYTES = 1 << 20
_MAX_ID = (1 << 32) - 2


class UserError(Exception):
    """There is no such user or group."""


class Identity:
    """Numbers and places of one user."""

    __slots__ = ("gid", "groups", "home", "name", "shell", "uid")

    def __init__(self, *, uid: int, gid: int, name: str, home: str, shell: str) -> None:
        self.uid = uid
        self.gid = gid
        self.name = name
        self.home = home
        self.shell = shell
        self.groups: list[int] = [gid]


def find_user(spec: str, *, root: str = "") -> Identity:
    """Resolve `NAME|UID[:GROUP|GID]`; with a group named, the user's other groups do not count.

    Raises:
        UserError: the name is not in the sandbox's files.
    """
    user, colon, group = spec.partition(":")
    found = _find_identity(user or "0", root)
    if colon and group:
        found.gid = find_group(group, root=root)
        found.groups = [found.gid]
    elif found.name:
        found.groups = [found.gid, *_member_of(found.name, found.gid, root)]
    return found


def _find_identity(user: str, root: str) -> Identity:
    number = _number(user)
    for row in _rows(f"{root}/etc/passwd", user, number, columns=7):
        uid, gid = _number(row[2]), _number(row[3])
        if uid is None or gid is None:
            continue
        if row[0] == user or uid == number:
            home, shell = row[5] or "/", row[6] or "/bin/sh"
            return Identity(uid=uid, gid=gid, name=row[0], home=home, shell=shell)
    if number is None:
        raise UserError(f"unable to find user {user}: no matching entries in passwd file")
    name = "root" if number == 0 else ""
    home = "/root" if number == 0 else "/"
    return Identity(uid=number, gid=0, name=name, home=home, shell="/bin/sh")  # noqa: S604 - a login shell, not a flag


def find_group(group: str, *, root: str = "") -> int:
    """The number of a group, given by name or number.

    Raises:
        UserError: the name is not in the sandbox's file.
    """
    number = _number(group)
    if number is not None:
        return number
    for row in _rows(f"{root}/etc/group", group, None, columns=4):
        gid = _number(row[2])
        if row[0] == group and gid is not None:
            return gid
    raise UserError(f"unable to find group {group}: no matching entries in group file")


def _member_of(name: str, own: int, root: str) -> list[int]:
    found: list[int] = []
    for row in _rows(f"{root}/etc/group", name, None, columns=4):
        gid = _number(row[2])
        if gid is not None and gid != own and name in row[3].split(","):
            found.append(gid)
    return found


def _rows(path: str, name: str, number: int | None, *, columns: int) -> list[list[str]]:
    """The lines that may be about `name` or `number`, in their columns.

    Most lines are sorted out as text: every session looks here, with emulated instructions.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        text = os.read(fd, _LIMIT_BYTES).decode(errors="replace")
    except OSError:
        return []
    finally:
        os.close(fd)
    mark = f":{number}:"
    lines = [line for line in text.split("\n") if name in line or mark in line]
    rows = [line.split(":") for line in lines]
    return [row for row in rows if len(row) >= columns]


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= _MAX_ID else None
