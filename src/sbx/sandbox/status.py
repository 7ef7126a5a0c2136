# SPDX-License-Identifier: Apache-2.0
"""What is true of a sandbox now: derived by asking, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sbx.sandbox.parts import Accel
from sbx.sandbox.ports import PortBinding
from sbx.sandbox.record import SandboxRecord
from sbx.sandbox.spec import SandboxSpec
from sbx.sandbox.state import State


class DiskState(StrEnum):
    """How much room a running sandbox has."""

    OK = "ok"
    LOW = "low"  # less than a tenth, or than 512 MiB, of its own disk is free
    FULL = "full"
    HOST_FULL = "host full"  # the host has no space for it: the machine stands still


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What a supervisor says of itself and its machine."""

    state: State
    pid: int  # of the supervisor
    uptime_s: float  # since the machine became ready; 0 before
    sessions: int  # open now
    accel: Accel | None
    machine_pid: int | None
    share_pid: int | None
    helper_pid: int | None
    disk_used_bytes: int | None = None  # as the guest's file system counts
    disk_size_bytes: int | None = None
    memory_used_bytes: int | None = None
    disk_state: DiskState = DiskState.OK
    ports: tuple[PortBinding, ...] = ()  # published now
    connections: int = 0  # through the proxies, now
    dropped: dict[str, int] | None = None  # packets, by the counters of docs/network.md


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """A sandbox with all that is known of it. `live` is None while no supervisor answers."""

    spec: SandboxSpec
    record: SandboxRecord
    state: State
    live: Live | None
    responsive: bool = True  # False: a supervisor is there and did not answer in time
    disk_bytes: int = 0  # what the data disk really takes on the host
    disk_size_bytes: int = 0  # what it may take: it may have grown since it was made
