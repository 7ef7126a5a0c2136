# SPDX-License-Identifier: Apache-2.0
"""Packing EROFS images with the runtime bundle's mkfs.erofs, in a jail.

File data is stored uncompressed: docs/images.md has the measurements.
"""

from __future__ import annotations

from pathlib import Path

from sbx.image.cache import tree_bytes
from sbx.image.recipe import SOURCE_DATE_EPOCH
from sbx.image.space import check_space
from sbx.sandbox.parts import RuntimeBundle
from sbx.system.jail import Bind, BindKind, Jail
from sbx.system.process import run

_PACK_SECONDS = 900.0
_OUTPUT = Path("/run/out")
_TREE = Path("/mnt")
_ARCHIVE = Path("/run/archive.tar")
_NO_UUID = "00000000-0000-0000-0000-000000000000"  # equal trees then give equal images


def pack_tree(
    runtime: RuntimeBundle, tree: Path, target: Path, *, over: tuple[Bind, ...] = ()
) -> None:
    """Pack a folder, everything owned by root; `over` are binds below `/mnt` laid over the tree.

    Raises:
        HostError: there is not enough space for the image.
    """
    check_space(target.parent, tree_bytes(tree))
    binds = (Bind(source=tree, target=_TREE), *over)
    _make(runtime, target, binds, ["--all-root", "--all-time", _TREE])


def pack_tar(
    runtime: RuntimeBundle, archive: Path, target: Path, *, with_whiteouts: bool = False
) -> None:
    """Pack a tar archive with the owners, modes, times and attributes that it holds.

    With whiteouts an empty `.wh.NAME` hides NAME of the layers below.

    Raises:
        HostError: there is not enough space for the image.
    """
    # mkfs.erofs 1.8 may wait for ever when the disk fills under it.
    check_space(target.parent, archive.stat().st_size)
    binds = (Bind(source=archive, target=_ARCHIVE),)
    # Compiled Python in the archive refers to the times of its sources.
    options: list[str | Path] = ["--tar=f", "--mkfs-time", "--preserve-mtime"]
    if with_whiteouts:
        options.append("--aufs")
    _make(runtime, target, binds, [*options, _ARCHIVE])


def _make(
    runtime: RuntimeBundle, target: Path, binds: tuple[Bind, ...], source: list[str | Path]
) -> None:
    output = Bind(source=target.parent, target=_OUTPUT, kind=BindKind.READ_WRITE)
    jail = Jail(root=runtime.root, binds=(*binds, output))
    *options, path = source
    program = ["/usr/bin/mkfs.erofs", "--quiet", f"-U{_NO_UUID}", f"-T{SOURCE_DATE_EPOCH}"]
    run(jail.command([*program, *options, _OUTPUT / target.name, path]), timeout_s=_PACK_SECONDS)
