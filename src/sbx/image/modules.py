# SPDX-License-Identifier: Apache-2.0
"""Kernel modules for the guest: which are kept, and the order in which the initramfs loads some.

Modules are stored uncompressed: under emulation the guest would spend more on xz than on reading.
"""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sbx.errors import PermanentError

# What the guest needs before its agent runs: the disk, its file system, overlay, network, entropy.
# The memory devices let a machine grow after its start, and give free pages back to the host.
BOOT_MODULES = (
    *("virtio_blk", "erofs", "overlay", "virtio_net", "virtio_rng"),
    *("virtio_mem", "virtio_balloon"),
)

_INDEXES = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
_KEPT = (
    "arch/", "crypto/", "fs/", "lib/", "mm/", "net/", "security/",
    "drivers/block/", "drivers/char/hw_random/", "drivers/dax/", "drivers/md/", "drivers/nvdimm/",
    "drivers/vhost/", "drivers/virtio/", "drivers/vdpa/",
    "drivers/net/bonding/", "drivers/net/team/", "drivers/net/ipvlan/", "drivers/net/macvlan/",
    "drivers/net/wireguard/", "drivers/net/vxlan/", "drivers/net/ppp/", "drivers/net/slip/",
)  # fmt: skip
_DROPPED = (
    "net/bluetooth/", "net/wireless/", "net/mac80211/", "net/atm/", "net/nfc/", "net/rxrpc/",
    "net/smc/", "net/rds/", "net/dccp/", "net/ieee802154/", "net/mac802154/",
    "arch/x86/kvm/", "arch/x86/events/", "fs/ocfs2/", "fs/gfs2/", "fs/ceph/", "fs/dlm/", "fs/afs/",
    "drivers/block/rbd", "drivers/block/drbd/",
)  # fmt: skip


def install_modules(archive: Path, tree: Path) -> None:
    """Unpack the wanted modules and their indexes from the runtime's archive into `tree`."""
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            source = tar.extractfile(member)
            if source is None or not _is_wanted(member.name):
                continue
            data = source.read()
            name = member.name
            if name.endswith(".ko.xz"):
                name, data = name.removesuffix(".xz"), lzma.decompress(data)
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def boot_order(folder: Path) -> tuple[PurePosixPath, ...]:
    """The boot modules with their dependencies, each after what it needs; paths below `folder`.

    `folder` is `/usr/lib/modules/<release>` of the guest with depmod's index in it.

    Raises:
        PermanentError: the index lacks a boot module.
    """
    needs = _read_index(folder / "modules.dep")
    by_name = {path.name.removesuffix(".ko").replace("-", "_"): path for path in needs}
    order: dict[PurePosixPath, None] = {}
    for name in BOOT_MODULES:
        if name not in by_name:
            raise PermanentError(f"kernel module is missing from the runtime bundle: `{name}`")
        path = by_name[name]
        # depmod lists the dependencies so that the last one must be loaded first.
        for each in (*reversed(needs[path]), path):
            order[each] = None
    return tuple(order)


def _is_wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts  # usr lib modules RELEASE kernel drivers ...
    if len(parts) < 6 or parts[4] != "kernel":
        return len(parts) == 5 and parts[4] in _INDEXES
    path = "/".join(parts[5:])
    if path.startswith("drivers/net/") and path.count("/") == 2:
        return True  # veth, tun, dummy and their like; vendors' cards are in folders
    return path.startswith(_KEPT) and not path.startswith(_DROPPED)


def _read_index(path: Path) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
    return dict(_index_lines(path.read_text().splitlines()))


def _index_lines(lines: list[str]) -> Iterator[tuple[PurePosixPath, tuple[PurePosixPath, ...]]]:
    for line in lines:
        head, _, rest = line.partition(":")
        yield PurePosixPath(head), tuple(PurePosixPath(word) for word in rest.split())
