# SPDX-License-Identifier: Apache-2.0
"""Looking for values that must be nowhere: in files, in memory of machines and of processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tests.kit.installation import Family, Installation, all_pids

_PIECE_BYTES = 1 << 22


def places_with(
    box: Installation, needles: Sequence[bytes], *, but: frozenset[str], supervisor: int
) -> list[str]:
    """Where a value of an installation was found.

    Its files but those named `but`, what anybody may see of any process, its machines' memory, and
    the memory of its processes but `supervisor`'s, in which values are put into requests.
    """
    found: list[str] = []
    for path in (p for p in box.home.rglob("*") if p.is_file() and p.name not in but):
        found += hits(str(path), path, needles)
    for pid in all_pids():
        for name in ("cmdline", "environ"):
            found += hits(f"{pid} {name}", Path(f"/proc/{pid}/{name}"), needles)
    family = family_of(box)
    assert supervisor in family
    machines = [memory for pid in family for memory in memories(pid)]
    assert machines
    for memory in machines:
        found += hits(str(memory), memory, needles)
    read = 0
    for pid in family - {supervisor}:
        read += any(process_memory(pid))
        if contains(process_memory(pid), needles):
            found.append(f"{pid} memory")
    assert read >= 2  # the machine, and at least one of those that serve it
    return found


def family_of(box: Installation) -> set[int]:
    """The processes of an installation."""
    return set(Family.of(str(box.home)).born) - {os.getpid()}


def process_memory(pid: int) -> Iterator[bytes]:
    """What a process has for itself: the memory of its machine is looked at apart."""
    with contextlib.suppress(OSError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode, *_ = line.split()
            if mode[0] != "r" or mode[1] != "w" or mode[3] != "p":
                continue
            at, end = (int(part, 16) for part in place.split("-"))
            while at < end:
                size = min(end - at, _PIECE_BYTES)
                with contextlib.suppress(OSError):  # reserved, and nothing there
                    yield os.pread(memory.fileno(), size, at)
                at += size


def memories(pid: int) -> list[Path]:
    """The machine's memory: open files without a name."""
    with contextlib.suppress(OSError):
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        return [fd for fd in descriptors if str(fd.readlink()).startswith("/memfd:")]
    return []


def hits(what: str, path: Path, needles: Sequence[bytes]) -> list[str]:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return [what] if contains(data_of(file), needles) else []
    return []


def data_of(file: BinaryIO) -> Iterator[bytes]:
    """What a file holds, without its holes: a memory of gigabytes is mostly holes."""
    at = 0
    try:
        end = os.lseek(file.fileno(), 0, os.SEEK_END)
        at = os.lseek(file.fileno(), 0, os.SEEK_DATA) if end else 0
    except OSError:
        end = 0  # no such file: of /proc, say
    if not end:
        file.seek(0)
        yield file.read()
        return
    while at < end:
        stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
        while at < stop:
            piece = os.pread(file.fileno(), min(stop - at, _PIECE_BYTES), at)
            yield piece
            at += len(piece)
        try:
            at = os.lseek(file.fileno(), stop, os.SEEK_DATA)
        except OSError:
            return  # the rest is a hole


def contains(pieces: Iterable[bytes], needles: Sequence[bytes]) -> bool:
    tail = b""
    for piece in pieces:
        text = tail + piece
        if any(needle in text for needle in needles):
            return True
        tail = text[-64:]
    return False
