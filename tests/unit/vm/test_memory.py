# SPDX-License-Identifier: Apache-2.0
"""Memory that is frozen and filled again: byte for byte, holes included."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.sandbox.units import GIB, MIB
from sbx.system.files import owned_fd
from sbx.vm.memory import BOOT_BYTES, data_ranges, fill, open_memory, room_bytes, save

SIZE = 16 * MIB
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(name="memory")
def _memory() -> Iterator[int]:
    with owned_fd(os.memfd_create("test")) as fd:
        os.ftruncate(fd, SIZE)
        yield fd


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Iterator[int]:
    with owned_fd(os.open(tmp_path / "ram", os.O_RDWR | os.O_CREAT, 0o600)) as fd:
        yield fd


def scatter(fd: int) -> bytes:
    """Touch some pages: at both ends, runs, single ones, and one with a byte at its end."""
    chance = random.Random(7)  # noqa: S311 - the same places each time
    for _ in range(40):
        place = chance.randrange(SIZE // PAGE) * PAGE
        os.pwrite(fd, chance.randbytes(chance.choice((1, PAGE, 3 * PAGE)))[: SIZE - place], place)
    os.pwrite(fd, b"first", 0)
    os.pwrite(fd, b"last", SIZE - 4)
    return os.pread(fd, SIZE, 0)


def test_what_is_saved_comes_back(memory: int, file: int) -> None:
    content = scatter(memory)
    written = save(memory, file, SIZE)
    assert os.pread(file, SIZE, 0) == content
    with owned_fd(os.memfd_create("again")) as again:
        os.ftruncate(again, SIZE)
        assert fill(again, file, SIZE) >= written
        assert os.pread(again, SIZE + 1, 0) == content


def test_what_is_empty_takes_no_room(memory: int, file: int) -> None:
    os.pwrite(memory, bytes(8 * MIB), 0)  # touched, and zero
    os.pwrite(memory, b"x", 12 * MIB)
    assert save(memory, file, SIZE) == PAGE
    assert os.fstat(file).st_size == SIZE
    assert os.fstat(file).st_blocks * 512 <= 64 * 1024
    with owned_fd(os.memfd_create("again")) as again:
        os.ftruncate(again, SIZE)
        fill(again, file, SIZE)
        assert os.fstat(again).st_blocks * 512 <= 64 * 1024


def test_a_file_that_was_cut_is_no_memory(memory: int, file: int) -> None:
    os.pwrite(file, b"x" * 100, 0)  # not even a page
    with pytest.raises(EOFError):
        fill(memory, file, SIZE)


def test_data_ranges_of_nothing_and_of_everything(memory: int) -> None:
    assert list(data_ranges(memory, SIZE)) == []
    os.pwrite(memory, b"x" * SIZE, 0)
    assert list(data_ranges(memory, SIZE)) == [(0, SIZE)]


def test_memory_is_ours_for_the_block_only() -> None:
    with open_memory(4 * GIB) as memory:
        assert os.fstat(memory.boot_fd).st_size == BOOT_BYTES
        assert os.fstat(memory.more_fd).st_size == 4 * GIB
        assert os.fstat(memory.more_fd).st_blocks == 0
    for fd in (memory.boot_fd, memory.more_fd):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize("host", [1, GIB - 1, GIB, 24 * GIB - 7])
def test_there_is_room_for_any_machine_of_the_host(host: int) -> None:
    assert host < room_bytes(host) <= host + GIB
    assert room_bytes(host) % GIB == 0
