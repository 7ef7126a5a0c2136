# SPDX-License-Identifier: Apache-2.0
"""The initramfs: busybox, the boot modules and the script that hands over to the guest root.

Uncompressed: the host reads it from its page cache, the guest would unpack it with emulated
instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from stat import S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG

from sbx.image.modules import boot_order
from sbx.image.recipe import SOURCE_DATE_EPOCH
from sbx.system.cpio import CpioEntry, write_cpio

TOOLS_SERIAL = "tools"  # of the virtio-blk disk with the guest root, see virtio(7) device ids
AGENT_FOLDER = "/usr/lib/sbx"
_BUSYBOX = "usr/bin/busybox"
_AGENT = f"import sys; sys.path.insert(0, '{AGENT_FOLDER}'); from guest.main import main; main()"

# Must be a real switch_root: the kernel starts modprobe in the initial root, not in a chroot.
_INIT = f"""#!/bin/busybox sh
b=/bin/busybox
fail() {{ echo "guest init: $1" >/dev/console; $b poweroff -f; }}
$b mount -t devtmpfs -o mode=755 dev /dev || fail "no devtmpfs"
$b mount -t proc -o nosuid,nodev,noexec proc /proc
$b mount -t sysfs -o nosuid,nodev,noexec sys /sys
$b insmod_all
serial=
read -r serial </sys/block/vda/serial
[ "$serial" = {TOOLS_SERIAL} ] || fail "no disk with the serial {TOOLS_SERIAL}"
$b mount -t erofs -o ro,nodev /dev/vda /root || fail "cannot mount the guest root"
$b mount -t tmpfs -o mode=755,nodev,nosuid run /root/run
$b mount -t tmpfs -o mode=1777,nodev,nosuid tmp /root/tmp
$b mount -o move /dev /root/dev
$b mount -o move /proc /root/proc
$b mount -o move /sys /root/sys
exec $b switch_root /root /usr/bin/tini-static -- /usr/bin/python3 -I -S -B -c "{_AGENT}"
"""


def build_initramfs(tree: Path, release: str, target: Path) -> None:
    """Write the initramfs for the guest root in `tree`."""
    modules = tree / "usr/lib/modules" / release
    with target.open("wb") as out:
        write_cpio(out, _entries(tree, modules), mtime=SOURCE_DATE_EPOCH)


def _entries(tree: Path, modules: Path) -> Iterator[CpioEntry]:
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        yield CpioEntry(name, S_IFDIR | 0o755)
    # The kernel opens it for init's standard streams before anything is mounted.
    yield CpioEntry("dev/console", S_IFCHR | 0o600, device=(5, 1))
    yield CpioEntry("bin/busybox", S_IFREG | 0o755, (tree / _BUSYBOX).read_bytes())
    yield CpioEntry("bin/sh", S_IFLNK | 0o777, b"busybox")
    loads: list[str] = []
    for path in boot_order(modules):
        yield CpioEntry(f"modules/{path.name}", S_IFREG | 0o644, (modules / path).read_bytes())
        loads.append(f'$b insmod /modules/{path.name} || fail "cannot load {path.name}"')
    script = _INIT.replace("$b insmod_all", "\n".join(loads))
    yield CpioEntry("init", S_IFREG | 0o755, script.encode())
