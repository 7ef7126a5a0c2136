# SPDX-License-Identifier: Apache-2.0
"""What the cache holds beside sandboxes: built parts, and the snapshots made of them."""

from __future__ import annotations

from pathlib import Path

from sbx.image.cache import remove_tree
from sbx.image.store import ImageStore, Part
from sbx.system.files import allocated_bytes
from sbx.vm.snapshots import FOLDER, Snapshots

BUILD_CACHE = "build-cache"  # what builds of Dockerfiles keep for the next one
CACHE_DISK = "disk.img"  # there
DOWNLOADS = "downloads"  # layers of images that are being pulled, or whose pull was cut off


def stop_building(cache: Path) -> None:
    """End a snapshot that is being made, before the cache is emptied."""
    Snapshots(cache).stop_building()


def cache_usage(cache: Path) -> tuple[Part, ...]:
    """Everything in the cache: built parts, snapshots, and what builds of Dockerfiles keep."""
    store = ImageStore(cache)
    bundle, tools = store.runtime(), store.tools()
    snapshots = _snapshots(
        cache,
        runtime=None if bundle is None else bundle.digest,
        tools=None if tools is None else tools.digest,
    )
    return store.usage() + snapshots + _build_cache(cache)


def _build_cache(cache: Path) -> tuple[Part, ...]:
    """The disk of the last build; nothing while a build is using it, as it is a sandbox's then."""
    try:
        size = allocated_bytes(cache / BUILD_CACHE / CACHE_DISK)
    except OSError:
        return ()
    return (Part(kind=BUILD_CACHE, digest="", size_bytes=size, current=False),)


def prune_cache(cache: Path, keep: frozenset[str], bases: frozenset[str] = frozenset()) -> int:
    """Remove what no new sandbox would use, except the layers in `keep`; returns bytes freed.

    `bases` are those of the user's templates.
    """
    old = [part for part in cache_usage(cache) if part.kind == FOLDER and not part.current]
    freed = sum(Snapshots(cache).remove(part.digest) for part in old)
    freed += sum(part.size_bytes for part in _build_cache(cache))
    for folder in (DOWNLOADS, BUILD_CACHE):
        remove_tree(cache / folder)
    return freed + ImageStore(cache).prune(keep, bases)


def _snapshots(cache: Path, *, runtime: str | None, tools: str | None) -> tuple[Part, ...]:
    """The snapshots; those of the given parts (digests) are what a new sandbox would use."""
    return tuple(
        Part(
            kind=FOLDER,
            digest=one.key,
            size_bytes=one.size_bytes,
            current=one.runtime == runtime and one.tools == tools,
        )
        for one in Snapshots(cache).usage()
    )
