# SPDX-License-Identifier: Apache-2.0
"""What builds of Dockerfiles keep is counted, and removed when asked for."""

from __future__ import annotations

from pathlib import Path

from sbx.lifecycle.caches import BUILD_CACHE, CACHE_DISK, cache_usage, prune_cache


def test_the_disk_of_builds_is_counted_and_removed(tmp_path: Path) -> None:
    disk = tmp_path / BUILD_CACHE / CACHE_DISK
    assert cache_usage(tmp_path) == ()
    disk.parent.mkdir()
    disk.write_bytes(b"x" * 100_000)
    (part,) = cache_usage(tmp_path)
    assert (part.kind, part.current) == ("build-cache", False)
    assert part.size_bytes >= 100_000
    assert prune_cache(tmp_path, frozenset()) == part.size_bytes
    assert not disk.parent.exists()
    assert cache_usage(tmp_path) == ()
