# SPDX-License-Identifier: Apache-2.0
"""What the audit log is told: one event for each question, connection and plain request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sbx.policy.hosts import Address, Endpoint
from sbx.policy.rules import Decision


class Via(StrEnum):
    """How the guest came to us."""

    DNS = "dns"
    EXPLICIT = "explicit"  # it asked the proxy
    TRANSPARENT = "transparent"  # its connection was redirected


class Outcome(StrEnum):
    """How it ended."""

    PASSED = "passed"
    BLOCKED = "blocked"  # denied before anything was sent
    CUT = "cut"  # a change of the policy ended it
    FAILED = "failed"  # upstream could not be reached, or broke off
    TIMEOUT = "timeout"
    MALFORMED = "malformed"  # refused unread


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One decision and what came of it. Holds no query string and no header."""

    via: Via
    outcome: Outcome
    to: Endpoint | None = None  # None: it was not understood
    name: str = ""  # of a DNS question; written by the guest
    decision: Decision | None = None
    address: Address | None = None  # that was dialled
    method: str = ""  # of a request that was read
    path: str = ""
    sent_bytes: int = 0  # by the guest
    received_bytes: int = 0
    duration_s: float = 0.0
    credentials: tuple[str, ...] = ()  # names of secrets: put in, or on their way astray
    detail: str = ""  # why it failed, for a person
