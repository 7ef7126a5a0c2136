# SPDX-License-Identifier: Apache-2.0
"""Changes of a folder, told by the real kernel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.system.files import write_atomic
from sbx.system.watch import FolderWatch

CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": lambda folder: write_atomic(folder / "file", b"new"),
    "written": lambda folder: (folder / "file").write_text("new"),
    "deleted": lambda folder: (folder / "file").unlink(),
    "mode": lambda folder: (folder / "file").chmod(0o400),
    "moved away": lambda folder: folder.rename(folder.with_name("elsewhere")),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_change_is_told_once(tmp_path: Path, how: str) -> None:
    async def main() -> None:
        folder = tmp_path / "watched"
        folder.mkdir()
        (folder / "file").write_text("old")
        watch = FolderWatch(folder)
        CHANGES[how](folder)  # before anybody waits
        async with asyncio.timeout(5):
            await watch.changed()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await watch.changed()
        watch.close()
        watch.close()

    asyncio.run(main())


def test_a_folder_that_was_replaced_is_found_again(tmp_path: Path) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib opens one more
        folder = tmp_path / "watched"
        folder.mkdir()
        watch = FolderWatch(folder)
        folder.rmdir()
        async with asyncio.timeout(5):
            await watch.changed()
        with pytest.raises(FileNotFoundError):
            watch.renew()
        folder.mkdir()
        watch.renew()
        (folder / "file").touch()
        async with asyncio.timeout(5):
            await watch.changed()
        watch.close()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above

    asyncio.run(main())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        FolderWatch(tmp_path / "file")
