# SPDX-License-Identifier: Apache-2.0
"""Runs inside a builder sandbox, by its own Python: notes what is there, and later what changed.

`begin` writes down every path; `export` becomes a tar(1) that writes what changed since then to
standard output. What is gone is an empty `.wh.NAME` beside its place, as image layers have it.
Imports nothing of sbx.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

WORK = b"/dev/shm"
BEFORE = b"sbx-before"
# Caches and logs of the installation itself: nobody misses them, and they differ each time.
LEFT_OUT = frozenset({
    b"/tmp", b"/var/tmp", b"/var/log", b"/var/cache/apt", b"/var/lib/apt/lists",
    b"/root/.npm", b"/root/.cache", b"/home/agent/.npm", b"/home/agent/.cache",
})  # fmt: skip


def mount_points() -> frozenset[bytes]:
    """Where something is mounted, see proc_pid_mountinfo(5): what lies there is not the overlay's.

    Device numbers cannot tell: an overlay gives its files those of the layers below.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        found = [line.split(b" ")[4] for line in file]
    return frozenset(re.sub(rb"\\([0-7]{3})", _unescaped, path) for path in found)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])


def walk(top: bytes, skip: frozenset[bytes]) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every path below `top` but for those in `skip`, folders before what is in them."""
    with os.scandir(top) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.path in skip:
            continue
        yield entry.path, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path, skip)


def ancestors(path: bytes, top: bytes) -> Iterator[bytes]:
    """The folders above a path, up to `top` and without it."""
    while (path := os.path.dirname(path)) not in (top, b"/", b""):
        yield path


def begin(top: bytes, work: bytes) -> None:
    """Write down what is there; the time of that file is the mark."""
    paths = [path for path, _facts in walk(top, LEFT_OUT | mount_points())]
    with open(os.path.join(work, BEFORE), "wb") as file:
        file.write(b"\0".join(paths))


def changes(top: bytes, work: bytes) -> tuple[list[bytes], list[bytes]]:
    """What is new or changed, with the folders above it, and the topmost of what is gone."""
    before_path = os.path.join(work, BEFORE)
    mark = os.stat(before_path).st_ctime_ns
    with open(before_path, "rb") as file:
        before = set(file.read().split(b"\0"))
    there: set[bytes] = set()
    changed: set[bytes] = set()
    for path, facts in walk(top, LEFT_OUT | mount_points()):
        there.add(path)
        if facts.st_ctime_ns >= mark or path not in before:
            changed.add(path)
            changed.update(ancestors(path, top))
    missing = before - there - {b""}
    gone = {path for path in missing if os.path.dirname(path) not in missing}
    changed.update(folder for path in gone for folder in ancestors(path, top))
    return sorted(changed), sorted(gone)


def export(top: bytes, work: bytes) -> None:
    """Become the tar that writes the archive."""
    changed, gone = changes(top, work)
    holes = os.path.join(work, b"sbx-holes")
    marks: list[bytes] = []
    for path in gone:
        folder, name = os.path.split(os.path.relpath(path, top))
        os.makedirs(os.path.join(holes, folder), exist_ok=True)
        marks.append(os.path.join(folder, b".wh." + name))
        with open(os.path.join(holes, marks[-1]), "wb"):
            pass
    os.makedirs(holes, exist_ok=True)
    names = _listed(work, b"sbx-changed", [os.path.relpath(path, top) for path in changed])
    options: list[str | bytes] = [
        "tar", "--create", "--format=posix", "--no-recursion", "--xattrs", "--numeric-owner",
        "--null", "--no-unquote", b"--directory=" + top, b"--files-from=" + names,
        b"--directory=" + holes, b"--files-from=" + _listed(work, b"sbx-marks", marks),
    ]  # fmt: skip
    os.execvp("tar", [os.fsencode(option) for option in options])  # noqa: S606 - no shell


def _listed(work: bytes, name: bytes, paths: list[bytes]) -> bytes:
    where = os.path.join(work, name)
    with open(where, "wb") as file:
        file.write(b"".join(path + b"\0" for path in paths))
    return where


def main(verb: str) -> None:
    """What the standard input of Python inside runs."""
    if verb == "begin":
        begin(b"/", WORK)
    else:
        export(b"/", WORK)


if __name__ == "__main__":
    main(sys.argv[1])
