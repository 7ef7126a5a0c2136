# SPDX-License-Identifier: Apache-2.0
"""Kernel modules: which are kept, and dependencies before what needs them."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from sbx.errors import PermanentError
from sbx.image.modules import BOOT_MODULES, boot_order, install_modules

FOLDER = "usr/lib/modules/6.12-cloud"
DEPENDENCIES = """\
kernel/drivers/block/virtio_blk.ko:
kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko
kernel/lib/libcrc32c.ko:
kernel/fs/overlayfs/overlay.ko:
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/char/hw_random/virtio-rng.ko:
kernel/drivers/virtio/virtio_mem.ko:
kernel/drivers/virtio/virtio_balloon.ko:
"""


def test_dependencies_come_first(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(DEPENDENCIES)
    names = [path.stem for path in boot_order(tmp_path)]
    assert names.index("libcrc32c") < names.index("erofs")
    assert names.index("failover") < names.index("net_failover") < names.index("virtio_net")
    assert len(names) == len(set(names))
    assert {name.replace("-", "_") for name in names} >= set(BOOT_MODULES)


def test_missing_boot_module(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(DEPENDENCIES.replace("virtio_blk", "other"))
    with pytest.raises(PermanentError, match="virtio_blk"):
        boot_order(tmp_path)


def test_wanted_modules_are_unpacked(tmp_path: Path) -> None:
    wanted = {
        f"{FOLDER}/kernel/net/netfilter/nf_tables.ko.xz",
        f"{FOLDER}/kernel/drivers/net/veth.ko.xz",
        f"{FOLDER}/kernel/fs/overlayfs/overlay.ko.xz",
    }
    dropped = {
        f"{FOLDER}/kernel/drivers/net/ethernet/intel/e1000.ko.xz",
        f"{FOLDER}/kernel/drivers/hid/hid.ko.xz",
        f"{FOLDER}/kernel/net/bluetooth/bluetooth.ko.xz",
    }
    with tarfile.open(tmp_path / "modules.tar", "w") as tar:
        for name in [*wanted, *dropped]:
            data = lzma.compress(b"\x7fELF" + name.encode())
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo(f"{FOLDER}/modules.builtin")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    install_modules(tmp_path / "modules.tar", tmp_path / "tree")
    found = {
        str(PurePosixPath(path.relative_to(tmp_path / "tree")))
        for path in (tmp_path / "tree").rglob("*")
        if path.is_file()
    }
    assert found == {name.removesuffix(".xz") for name in wanted} | {f"{FOLDER}/modules.builtin"}
    one = tmp_path / "tree" / FOLDER / "kernel/drivers/net/veth.ko"
    assert one.read_bytes().startswith(b"\x7fELF")
