# SPDX-License-Identifier: Apache-2.0
"""The guest kernel without its wrapper: the ELF file inside a bzImage.

QEMU starts it at its PVH entry, so that no emulated instruction is spent on unpacking it. See the
kernel's Documentation/arch/x86/boot.rst for the header.
"""

from __future__ import annotations

import struct
from pathlib import Path

from sbx.errors import PermanentError
from sbx.system.jail import Jail
from sbx.system.process import run

_SETUP_SECTORS = 0x1F1
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 0x248, 0x24C
_SECTOR_BYTES = 512
_SIZE_BYTES = 4  # the length of the ELF file follows the compressed stream
_ZSTD = bytes.fromhex("28b52ffd")
_UNPACK_SECONDS = 60.0


def payload(image: bytes) -> bytes:
    """The compressed kernel in a bzImage.

    Raises:
        PermanentError: it is none, or not compressed with zstd.
    """
    if image[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        raise PermanentError("the kernel of the runtime bundle is not a bzImage")
    start = ((image[_SETUP_SECTORS] or 4) + 1) * _SECTOR_BYTES
    (offset,) = struct.unpack_from("<I", image, _PAYLOAD_OFFSET)
    (length,) = struct.unpack_from("<I", image, _PAYLOAD_LENGTH)
    data = image[start + offset : start + offset + length - _SIZE_BYTES]
    if not data.startswith(_ZSTD):
        raise PermanentError("the kernel of the runtime bundle is not compressed with zstd")
    return data


def unpack_kernel(root: Path, image: Path, target: Path) -> None:
    """Write the ELF kernel that `image` holds, with the zstd program of the bundle in `root`."""
    jail = Jail(root=root)
    data = payload(image.read_bytes())
    done = run(jail.command(["/usr/bin/zstd", "-dcq"]), stdin=data, timeout_s=_UNPACK_SECONDS)
    if not done.stdout.startswith(b"\x7fELF"):
        raise PermanentError("the kernel of the runtime bundle does not unpack to an ELF file")
    target.write_bytes(done.stdout)
