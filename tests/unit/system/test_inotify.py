# SPDX-License-Identifier: Apache-2.0
"""Being told that a file was opened."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.system.inotify import on_open


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
