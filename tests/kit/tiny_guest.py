# SPDX-License-Identifier: Apache-2.0
"""A guest of busybox and two modules: a shell on the control port, to look around inside.

It needs the runtime bundle only, so tests of the machine do not depend on the guest tools.
"""

from __future__ import annotations

import asyncio
import lzma
import secrets
import socket
import tarfile
from pathlib import Path
from stat import S_IFCHR, S_IFDIR, S_IFREG

from sbx.sandbox.parts import GuestTools, RuntimeBundle
from sbx.system.cpio import CpioEntry, write_cpio

_MODULES = (
    "kernel/drivers/block/virtio_blk.ko.xz",
    "kernel/drivers/char/hw_random/virtio-rng.ko.xz",
)

_INIT = """#!/busybox sh
b=/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b insmod /virtio_blk.ko || echo FAILED
$b insmod /virtio-rng.ko || echo FAILED
echo BOOTED
port=$($b echo /dev/vport*p1)
exec $b sh /shell <>$port >&0
"""
# Each answer ends with the word that its command came with.
_SHELL = """b=/busybox
while IFS=' ' read -r word line; do eval "$line"; echo "$word"; done
"""


def make_tiny_guest(runtime: RuntimeBundle, folder: Path) -> GuestTools:
    """The initramfs, and an empty disk in the place of the guest root."""
    entries = [CpioEntry(name, S_IFDIR | 0o755) for name in ("dev", "proc", "sys", "mnt")]
    entries += [
        CpioEntry("dev/console", S_IFCHR | 0o600, device=(5, 1)),
        CpioEntry("busybox", S_IFREG | 0o755, (runtime.root / "usr/bin/busybox").read_bytes()),
        CpioEntry("init", S_IFREG | 0o755, _INIT.encode()),
        CpioEntry("shell", S_IFREG | 0o644, _SHELL.encode()),
    ]
    with tarfile.open(runtime.root.parent / "modules.tar") as archive:
        for path in _MODULES:
            member = archive.extractfile(f"usr/lib/modules/{runtime.kernel_release}/{path}")
            assert member is not None
            name = Path(path).stem
            entries.append(CpioEntry(name, S_IFREG | 0o644, lzma.decompress(member.read())))
    with (folder / "initramfs").open("wb") as out:
        write_cpio(out, entries)
    (folder / "tools.img").write_bytes(bytes(1 << 20))
    return GuestTools(
        digest="tiny", image=folder / "tools.img", initramfs=folder / "initramfs", versions={}
    )


async def ask(sock: socket.socket, line: str) -> str:
    """Run a line of shell in the guest and return its standard output."""
    loop = asyncio.get_running_loop()
    word = secrets.token_hex(8)
    await loop.sock_sendall(sock, f"{word} {line}\n".encode())
    answer = b""
    while not answer.endswith(f"{word}\n".encode()):
        data = await loop.sock_recv(sock, 65536)
        assert data, f"the guest hung up; so far: {answer!r}"
        answer += data
    return answer.decode().removesuffix(f"{word}\n")
