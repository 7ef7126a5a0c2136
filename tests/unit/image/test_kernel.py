# SPDX-License-Identifier: Apache-2.0
"""The kernel inside a bzImage: found by its header, refused when it is something else."""

from __future__ import annotations

import struct

import pytest

from sbx.errors import PermanentError
from sbx.image.kernel import payload

STREAM = bytes.fromhex("28b52ffd") + b"compressed"


def image(stream: bytes = STREAM, magic: bytes = b"HdrS", sectors: int = 3) -> bytes:
    data = bytearray((max(sectors, 1) + 1) * 512 if sectors else 5 * 512)
    data[0x1F1] = sectors
    data[0x202:0x206] = magic
    struct.pack_into("<II", data, 0x248, 16, len(stream) + 4)
    return bytes(data) + bytes(16) + stream + struct.pack("<I", 1000) + b"more"


@pytest.mark.parametrize("sectors", [0, 3, 27])
def test_payload_is_found(sectors: int) -> None:
    assert payload(image(sectors=sectors)) == STREAM


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF" + bytes(4000), image(magic=b"none"), image(b"\x1f\x8b gzip")]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(PermanentError, match="kernel of the runtime bundle"):
        payload(data)
