# SPDX-License-Identifier: Apache-2.0
"""How large a machine may be here: defaults and limits of `--cpus`, `--memory` and `--disk`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError, UserError
from sbx.sandbox.spec import Resources
from sbx.sandbox.units import GIB, MIB, TIB, format_size, parse_size
from sbx.system.cgroup import CgroupLimits

MIN_MEMORY_BYTES = 512 * MIB
MAX_DEFAULT_MEMORY_BYTES = 32 * GIB
DEFAULT_DISK_BYTES = 32 * GIB  # sparse: takes what is written
MIN_DISK_BYTES = 1 * GIB
MAX_DISK_BYTES = 8 * TIB  # half of what ext4 with 32-bit block numbers can hold
MAX_CPUS = 255  # q35 without an interrupt remapper

# What must be free to bring up any machine at all: memory that an idle guest has touched, QEMU, us.
BRING_UP_BYTES = 512 * MIB

# Of QEMU and virtiofsd together, beside the guest's memory.
OVERHEAD_BYTES = 512 * MIB
THREADS = 512

_MEMORY_STEP_BYTES = 2 * MIB  # a huge page; QEMU wants whole pages
_DISK_STEP_BYTES = 1 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """What the host has."""

    cpus: int  # that this process may use
    memory_bytes: int
    available_bytes: int  # free, or taken back from caches without swapping (`MemAvailable`)


def host_capacity(meminfo: Path = Path("/proc/meminfo")) -> HostCapacity:
    """Read the host's size (proc(5), `meminfo`)."""
    values = dict[str, int]()
    for line in meminfo.read_text().splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            values[name] = int(number[0]) * 1024
    total = values["MemTotal"]
    return HostCapacity(
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=total,
        available_bytes=values.get("MemAvailable", total),
    )


def default_memory_bytes(host: HostCapacity) -> int:
    """Half of the host, at least 512 MiB and at most 32 GiB."""
    half = host.memory_bytes // 2
    return _round_down(min(max(half, MIN_MEMORY_BYTES), MAX_DEFAULT_MEMORY_BYTES), MIB)


def max_memory_bytes(host: HostCapacity) -> int:
    """Three quarters of the host, but never less than the minimum."""
    return max(_round_down(host.memory_bytes * 3 // 4, MIB), MIN_MEMORY_BYTES)


def choose_resources(
    host: HostCapacity, *, cpus: int = 0, memory: str | None = None, disk: str | None = None
) -> Resources:
    """The machine's size from the values of `--cpus`, `--memory` and `--disk` (None: not given).

    Raises:
        UserError: a value is not a number, too small, or more than the host has.
    """
    return Resources(
        cpus=_choose_cpus(host, cpus),
        memory_bytes=_choose_memory(host, memory),
        disk_bytes=_choose_disk(disk),
    )


def check_memory_free(resources: Resources, host: HostCapacity) -> None:
    """Refuse a start that the host cannot survive.

    A machine's memory is taken as it is touched, so machines together may be larger than the
    host; but one that cannot even boot would only set off the host's out-of-memory killer.

    Raises:
        HostError: too little is free.
    """
    needed = min(resources.memory_bytes, BRING_UP_BYTES)
    if host.available_bytes < needed:
        raise HostError(
            f"not enough free memory to start a machine: {format_size(host.available_bytes)} free, "
            f"{format_size(needed)} needed",
            hint="Stop another sandbox (sbx stop NAME) or close other programs",
        )


def memory_warning(resources: Resources, host: HostCapacity) -> str | None:
    """A sentence if the machine may grow beyond what is free now."""
    if resources.memory_bytes <= host.available_bytes:
        return None
    return (
        f"the machine may use {format_size(resources.memory_bytes)} of memory, and "
        f"{format_size(host.available_bytes)} are free now"
    )


def host_limits(resources: Resources) -> CgroupLimits:
    """What a sandbox's processes on the host may take at most, well above what they do take.

    Beside the guest's memory: QEMU's translation cache and buffers, page tables, virtiofsd.
    """
    return CgroupLimits(
        memory_bytes=resources.memory_bytes + resources.memory_bytes // 64 + OVERHEAD_BYTES,
        processes=THREADS + 2 * resources.cpus,
    )


def _choose_cpus(host: HostCapacity, cpus: int) -> int:
    most = min(host.cpus, MAX_CPUS)
    if cpus < 0:
        raise UserError(f"invalid number of CPUs: {cpus}", hint="Use 0 for all CPUs of the host")
    if cpus > most:
        raise UserError(
            f"too many CPUs: {cpus} asked for, {most} available", hint=f"Use --cpus {most} or less"
        )
    return cpus or most


def _choose_memory(host: HostCapacity, text: str | None) -> int:
    if text is None:
        return default_memory_bytes(host)
    size, most = parse_size(text), max_memory_bytes(host)
    if size < MIN_MEMORY_BYTES:
        raise UserError(
            f"too little memory: {format_size(size)}",
            hint=f"Use at least {format_size(MIN_MEMORY_BYTES)}: --memory 512m",
        )
    if size > most:
        raise UserError(
            f"too much memory: {format_size(size)} asked for, at most {format_size(most)} "
            f"(75 % of the host)",
            hint=f"Use --memory {most // MIB}m or less",
        )
    return _round_down(size, _MEMORY_STEP_BYTES)


def _choose_disk(text: str | None) -> int:
    if text is None:
        return DEFAULT_DISK_BYTES
    size = parse_size(text)
    if not MIN_DISK_BYTES <= size <= MAX_DISK_BYTES:
        raise UserError(
            f"invalid disk size: {format_size(size)}",
            hint=f"Use {format_size(MIN_DISK_BYTES)} to {format_size(MAX_DISK_BYTES)}",
        )
    return _round_down(size, _DISK_STEP_BYTES)


def _round_down(value: int, step: int) -> int:
    return value - value % step
