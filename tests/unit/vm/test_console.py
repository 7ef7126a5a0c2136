# SPDX-License-Identifier: Apache-2.0
"""Bounded keeping of what a guest writes without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import HostError
from sbx.vm.console import ConsoleLog, Tail


@given(st.lists(st.binary(max_size=300)))
def test_the_tail_is_the_end_of_all_that_came(parts: list[bytes]) -> None:
    tail = Tail(100)
    for part in parts:
        tail.add(part.hex().encode())
    assert tail.text() == b"".join(parts).hex()[-100:]


def test_terminal_control_is_taken_out() -> None:
    tail = Tail()
    tail.add(b"\x1b]0;title\x07red\x1b[31m\r\nnext\ttab\x9b\xff\x00")
    assert tail.text() == "]0;titlered[31m\nnext\ttab��"


@pytest.mark.parametrize("piece", [1, 7, 64, 99, 1000])
def test_the_file_keeps_the_newest_half_at_least(tmp_path: Path, piece: int) -> None:
    log = ConsoleLog(tmp_path / "log", limit_bytes=100)
    data = bytes(i % 251 for i in range(2000))
    for start in range(0, len(data), piece):
        log.write(data[start : start + piece])
        assert (tmp_path / "log").stat().st_size <= 100
    log.close()
    kept = (tmp_path / "log").read_bytes()
    assert len(kept) >= 50
    assert data.endswith(kept)


def test_an_earlier_run_is_kept(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        log = ConsoleLog(tmp_path / "log")
        log.write(text)
        log.close()
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(HostError, match="cannot open console log"):
        ConsoleLog(tmp_path / "log")
    assert not (tmp_path / "other").exists()


def test_a_file_that_cannot_be_written_loses_output_only(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path / "log")
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), log._fd)  # pyright: ignore[reportPrivateUsage]
    log.write(b"lost")
    log.close()
