# SPDX-License-Identifier: Apache-2.0
"""Archives for the kernel, read back by its own rules."""

from __future__ import annotations

import io
from stat import S_IFCHR, S_IFDIR, S_IFREG

from sbx.system.cpio import CpioEntry, write_cpio

ENTRIES = (
    CpioEntry("dev", S_IFDIR | 0o755),
    CpioEntry("dev/console", S_IFCHR | 0o600, device=(5, 1)),
    CpioEntry("init", S_IFREG | 0o755, b"#!/busybox sh\n"),
    CpioEntry("empty", S_IFREG | 0o644),
)


def read(data: bytes) -> list[CpioEntry]:
    """A reader made from the format's description, not from the writer."""
    found: list[CpioEntry] = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = at + (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        body = data[start : start + size]
        found.append(CpioEntry(name, fields[1], body, (fields[9], fields[10])))
        at = start + (size + 3) // 4 * 4


def test_entries_come_back() -> None:
    out = io.BytesIO()
    write_cpio(out, ENTRIES)
    assert tuple(read(out.getvalue())) == ENTRIES


def test_the_same_entries_make_the_same_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    write_cpio(first, ENTRIES, mtime=7)
    write_cpio(second, iter(ENTRIES), mtime=7)
    assert first.getvalue() == second.getvalue()
    assert len(first.getvalue()) % 4 == 0
