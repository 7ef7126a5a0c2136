# SPDX-License-Identifier: Apache-2.0
"""What the cache holds beside sandboxes: built parts, and the snapshots made of them."""

from __future__ import annotations

from pathlib import Path

from sbx.image.cache import remove_tree
from sbx.image.store import ImageStore, Part
from sbx.vm.snapshots import FOLDER, Snapshots

DOWNLOADS = "downloads"  # layers of images that are being pulled, or whose pull was cut off


def stop_building(cache: Path) -> None:
    """End a snapshot that is being made, before the cache is emptied."""
    Snapshots(cache).stop_building()


def cache_usage(cache: Path) -> tuple[Part, ...]:
    """Everything in the cache: built parts and snapshots."""
    store = ImageStore(cache)
    bundle, tools = store.runtime(), store.tools()
    snapshots = _snapshots(
        cache,
        runtime=None if bundle is None else bundle.digest,
        tools=None if tools is None else tools.digest,
    )
    return store.usage() + snapshots


def prune_cache(cache: Path, keep: frozenset[str], bases: frozenset[str] = frozenset()) -> int:
    """Remove what no new sandbox would use, except the layers in `keep`; returns bytes freed.

    `bases` are those of the user's templates.
    """
    old = [part for part in cache_usage(cache) if part.kind == FOLDER and not part.current]
    freed = sum(Snapshots(cache).remove(part.digest) for part in old)
    remove_tree(cache / DOWNLOADS)
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
