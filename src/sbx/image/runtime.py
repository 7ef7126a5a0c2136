# SPDX-License-Identifier: Apache-2.0
"""The runtime bundle: QEMU, virtiofsd, the guest kernel and file system tools, one pinned tree.

Only what the jail runs is kept: programs named here, shared libraries and QEMU's firmware. The
kernel's modules, which only the guest needs, lie beside the tree as one archive.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from sbx.errors import PermanentError
from sbx.image.archive import add_merged_links, merged_name, unpack
from sbx.image.cache import Entry, Facts, Shelf
from sbx.image.debian import Bootstrap, bootstrap
from sbx.image.kernel import unpack_kernel
from sbx.image.recipe import RUNTIME_PACKAGES, RUNTIME_RECIPE, input_key
from sbx.sandbox.parts import RuntimeBundle
from sbx.system.files import private_folder
from sbx.system.progress import Progress

KIND = "runtime"
TREE = "tree"
MODULES = "modules.tar"
NEEDED_BYTES = 900 << 20  # archive, tree and packages, while it is built
_RELEASE = "kernel_release"
_LIBRARIES = "usr/lib/x86_64-linux-gnu/"
_PROGRAMS = frozenset({
    "usr/bin/qemu-system-x86_64", "usr/libexec/virtiofsd",
    "usr/bin/busybox", "usr/bin/kmod", "usr/bin/zstd",
    "usr/bin/mkfs.erofs", "usr/bin/fsck.erofs", "usr/bin/dump.erofs",
    "usr/sbin/depmod", "usr/sbin/mke2fs", "usr/sbin/mkfs.ext4", "usr/sbin/e2fsck",
    "usr/sbin/resize2fs", "usr/sbin/dumpe2fs", "usr/sbin/tune2fs", "etc/mke2fs.conf",
    "usr/lib64/ld-linux-x86-64.so.2",
})  # fmt: skip
_FIRMWARE = ("usr/share/seabios/bios", "usr/share/seabios/vgabios-stdvga")
_QEMU_DATA = frozenset(
    f"usr/share/qemu/{name}"
    for name in ("kvmvapic.bin", "linuxboot.bin", "linuxboot_dma.bin", "pvh.bin", "efi-virtio.rom",
                 "multiboot.bin", "multiboot_dma.bin")
)  # fmt: skip
# Libraries that only programs use which are not kept.
_UNUSED = ("libsystemd-shared", "libnss3", "libfreebl", "libdb-", "libperl")
_MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "var/tmp", "mnt")


def key() -> str:
    """The key of the inputs."""
    return input_key(KIND, RUNTIME_RECIPE, RUNTIME_PACKAGES)


def build(cache: Path, progress: Progress) -> Entry:
    """The bundle, built if it is absent (errors as `debian.bootstrap`)."""
    return Shelf(cache, KIND).make(key(), lambda folder: _fill(folder, progress))


def as_parts(entry: Entry) -> RuntimeBundle:
    """The entry as the rest of the program knows it."""
    root = entry.folder / TREE
    release = entry.facts.notes[_RELEASE]
    return RuntimeBundle(
        digest=entry.digest,
        root=root,
        kernel=root / "boot" / f"vmlinux-{release}",
        kernel_release=release,
        versions=entry.facts.packages,
    )


def _fill(folder: Path, progress: Progress) -> Facts:
    temp = private_folder(folder.parent / "work")
    archive = temp / "packages.tar"
    job = Bootstrap(what="runtime bundle", packages=RUNTIME_PACKAGES, output=archive, temp=temp)
    versions = bootstrap(job, progress)
    progress.begin("runtime bundle: select files")
    tree = folder / TREE
    unpack(archive, tree, _is_wanted)
    add_merged_links(tree)
    for name in _MOUNT_POINTS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    release = _kernel_release(tree)
    wrapped = tree / "boot" / f"vmlinuz-{release}"
    unpack_kernel(tree, wrapped, tree / "boot" / f"vmlinux-{release}")
    wrapped.unlink()
    _copy_modules(archive, folder / MODULES)
    shutil.rmtree(temp)
    progress.end()
    return Facts(packages=versions, notes={_RELEASE: release})


def _is_wanted(name: str) -> bool:
    if name in _PROGRAMS or name in _QEMU_DATA or name.startswith(("boot/vmlinuz-", *_FIRMWARE)):
        return True
    if not name.startswith(_LIBRARIES):
        return False
    rest = name.removeprefix(_LIBRARIES)
    if rest.startswith("qemu/"):
        return rest.endswith(".so")
    return "/" not in rest and ".so" in rest and not rest.startswith(_UNUSED)


def _kernel_release(tree: Path) -> str:
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise PermanentError(f"runtime bundle holds {len(kernels)} kernels, one is expected")
    return kernels[0].name.removeprefix("vmlinuz-")


def _copy_modules(archive: Path, target: Path) -> None:
    with tarfile.open(archive, mode="r:") as source, tarfile.open(target, mode="w:") as out:
        for member in source:
            name = merged_name(member.name)
            if not name.startswith("usr/lib/modules/") or not member.isfile():
                continue
            member.name = name
            member.pax_headers = {}
            out.addfile(member, source.extractfile(member))
