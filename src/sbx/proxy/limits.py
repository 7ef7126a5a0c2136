# SPDX-License-Identifier: Apache-2.0
"""The bounds of the way out, for one sandbox."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sandbox may take of the supervisor; what comes beyond waits in the kernel's queue."""

    max_connections: int = 256  # on each listener; every one takes two descriptors
    max_lookups: int = 32  # names being resolved upstream at once
    max_addresses: int = 8  # of a name that are tried
    max_dns_streams: int = 16  # DNS over TCP
    dns_per_second: int = 500
    chunk_bytes: int = 64 * 1024  # read at once, in each direction
    head_timeout_s: float = 15.0  # from the first byte of a head or hello to its last
    keep_alive_s: float = 75.0  # between two requests
    resolve_timeout_s: float = 10.0
    connect_timeout_s: float = 15.0  # of all attempts together
    attempt_delay_s: float = 0.25  # before the next address is tried beside it (RFC 8305, 5)
    idle_timeout_s: float = 900.0  # without a byte in either direction
    half_closed_timeout_s: float = 120.0  # the same, after one side has ended
    linger_s: float = 2.0  # for a refusal to arrive
