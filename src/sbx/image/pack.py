# SPDX-License-Identifier: Apache-2.0
"""Packing EROFS images with the runtime bundle's mkfs.erofs, in a jail."""

from __future__ import annotations

import uuid
from enum import Enum
from pathlib import Path

from sbx.image.recipe import SOURCE_DATE_EPOCH
from sbx.sandbox.parts import RuntimeBundle
from sbx.system.jail import Bind, BindKind, Jail
from sbx.system.process import run

_PACK_SECONDS = 900.0
_OUTPUT = Path("/run/out")
_SOURCE = Path("/mnt")
_NO_UUID = str(uuid.UUID(int=0))  # equal trees then give equal images


class Compression(Enum):
    """How file data is stored; docs/images.md has the measurements."""

    NONE = ()
    LZ4HC = ("-zlz4hc,9", "-C16384")
    ZSTD = ("-zzstd,3", "-C65536")


def pack_tree(
    runtime: RuntimeBundle,
    tree: Path,
    target: Path,
    *,
    over: tuple[Bind, ...] = (),
    compression: Compression,
) -> None:
    """Pack a folder, everything owned by root; `over` are binds below `/mnt` laid over the tree."""
    binds = (Bind(source=tree, target=_SOURCE), *over)
    _make(runtime, target, binds, [*compression.value, "--all-root"])


def pack_tar(runtime: RuntimeBundle, archive: Path, target: Path, *, compression: Compression) -> None:
    """Pack a tar archive with the owners, modes and attributes that it holds."""
    binds = (Bind(source=archive, target=_SOURCE),)
    _make(runtime, target, binds, [*compression.value, "--tar=f"])


def _make(runtime: RuntimeBundle, target: Path, binds: tuple[Bind, ...], options: list[str]) -> None:
    output = Bind(source=target.parent, target=_OUTPUT, kind=BindKind.READ_WRITE)
    jail = Jail(root=runtime.root, binds=(*binds, output))
    epoch = ["-T", str(SOURCE_DATE_EPOCH), "--ignore-mtime"]
    args = ["/usr/bin/mkfs.erofs", "--quiet", f"-U{_NO_UUID}", *epoch, *options]
    run(jail.command([*args, _OUTPUT / target.name, _SOURCE]), timeout_s=_PACK_SECONDS)
