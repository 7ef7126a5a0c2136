# SPDX-License-Identifier: Apache-2.0
"""Defaults and limits of a machine's size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sbx.errors import HostError, UserError
from sbx.sandbox.units import GIB, MIB
from sbx.vm.resources import (
    DEFAULT_DISK_BYTES,
    HostCapacity,
    check_memory_free,
    choose_resources,
    host_capacity,
    host_limits,
    memory_warning,
)

HOST = HostCapacity(cpus=4, memory_bytes=24 * GIB, available_bytes=20 * GIB)


def host(memory_bytes: int) -> HostCapacity:
    return replace(HOST, memory_bytes=memory_bytes)


def test_defaults() -> None:
    made = choose_resources(HOST)
    assert (made.cpus, made.memory_bytes) == (4, 12 * GIB)
    assert made.disk_bytes == DEFAULT_DISK_BYTES


@pytest.mark.parametrize(
    ("memory", "default"), [(512 * MIB, 512 * MIB), (8 * GIB, 4 * GIB), (256 * GIB, 32 * GIB)]
)
def test_default_memory_is_half_within_bounds(memory: int, default: int) -> None:
    assert choose_resources(host(memory)).memory_bytes == default


@pytest.mark.parametrize(("cpus", "expected"), [(0, 4), (1, 1), (4, 4)])
def test_cpus(cpus: int, expected: int) -> None:
    assert choose_resources(HOST, cpus=cpus).cpus == expected


@pytest.mark.parametrize("cpus", [-1, 5, 1000])
def test_wrong_cpus(cpus: int) -> None:
    with pytest.raises(UserError, match="CPUs: "):
        choose_resources(HOST, cpus=cpus)


@pytest.mark.parametrize(
    ("text", "expected"), [("512m", 512 * MIB), ("18g", 18 * GIB), ("536870913", 512 * MIB)]
)
def test_memory(text: str, expected: int) -> None:
    assert choose_resources(HOST, memory=text).memory_bytes == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [("511m", "too little"), ("0", "too little"), ("19g", "too much"), ("lots", "invalid size")],
)
def test_wrong_memory(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        choose_resources(HOST, memory=text)


def test_a_tiny_host_may_still_use_the_minimum() -> None:
    assert choose_resources(host(600 * MIB), memory="512m").memory_bytes == 512 * MIB


def test_disk() -> None:
    assert choose_resources(HOST, disk="1g").disk_bytes == GIB
    for text in ("1023m", "9t", "x"):
        with pytest.raises(UserError, match="size"):
            choose_resources(HOST, disk=text)


def test_a_start_needs_what_it_touches_not_all_that_it_may() -> None:
    made = choose_resources(HOST)
    check_memory_free(made, replace(HOST, available_bytes=GIB))
    with pytest.raises(HostError, match="not enough free memory"):
        check_memory_free(made, replace(HOST, available_bytes=400 * MIB))


def test_a_machine_larger_than_what_is_free_is_worth_a_word() -> None:
    made = choose_resources(HOST)
    assert memory_warning(made, HOST) is None
    warning = memory_warning(made, replace(HOST, available_bytes=GIB))
    assert warning is not None
    assert "12 GiB" in warning
    assert "1 GiB" in warning


def test_limits_leave_room_for_what_is_not_guest_memory() -> None:
    made = choose_resources(HOST)
    limits = host_limits(made)
    assert limits.memory_bytes is not None
    assert limits.processes is not None
    assert limits.memory_bytes > made.memory_bytes + 256 * MIB
    assert limits.processes > 100


def test_capacity_of_a_host(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2048 kB\nMemFree:  1 kB\nMemAvailable:  1024 kB\nHugePages: 0\n")
    found = host_capacity(meminfo)
    assert (found.memory_bytes, found.available_bytes) == (2 * MIB, MIB)
    assert found.cpus >= 1
    real = host_capacity()
    assert real.memory_bytes >= real.available_bytes > 0
