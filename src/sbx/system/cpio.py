# SPDX-License-Identifier: Apache-2.0
"""Archives that the Linux kernel unpacks as its initial root: cpio, format `newc`, uncompressed.

See the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

_MAGIC = b"070701"
_END = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class CpioEntry:
    """A member of an archive, owned by root."""

    name: str  # without a leading slash
    mode: int  # kind and permissions, see inode(7)
    data: bytes = b""  # of a file, or the target of a link
    device: tuple[int, int] = (0, 0)  # major and minor number of a device node


def write_cpio(out: IO[bytes], entries: Iterable[CpioEntry], *, mtime: int = 0) -> None:
    """Write an archive; the same entries make the same bytes."""
    for number, entry in enumerate(entries, start=1):
        out.write(_record(entry, number, mtime))
    out.write(_record(CpioEntry(_END, 0), 0, 0))


def _record(entry: CpioEntry, number: int, mtime: int) -> bytes:
    name = entry.name.encode() + b"\0"
    fields = (
        number, entry.mode, 0, 0, 1, mtime, len(entry.data), 0, 0, *entry.device, len(name), 0,
    )  # fmt: skip
    head = _MAGIC + b"".join(b"%08X" % field for field in fields)
    return _pad(head + name) + _pad(entry.data)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
