# SPDX-License-Identifier: Apache-2.0
"""Changes of a folder and the opening of a file, told by the real kernel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.system.files import write_atomic
from sbx.system.inotify import FolderWatch, on_open

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


def test_opening_a_file_is_told_and_reading_it_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")

    async def scenario() -> None:
        told = asyncio.Event()
        with on_open(path, told.set):
            assert not told.is_set()
            path.open("rb").close()
            await told.wait()

    asyncio.run(scenario())


def test_afterwards_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    calls: list[int] = []

    async def scenario() -> None:
        with on_open(path, lambda: calls.append(1)):
            pass
        path.open("rb").close()
        await asyncio.to_thread(path.read_bytes)

    asyncio.run(scenario())
    assert calls == []


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        with on_open(tmp_path / "none", lambda: None):
            pass

    with pytest.raises(HostError, match="cannot watch"):
        asyncio.run(scenario())
