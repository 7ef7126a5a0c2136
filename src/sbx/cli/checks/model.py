# SPDX-License-Identifier: Apache-2.0
"""What a check is and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sbx.store.paths import Paths


class Outcome(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"  # works, but less well or less safely
    FAIL = "fail"  # sandboxes do not work until this is changed
    SKIP = "skip"  # cannot be told yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check. `hint` is a command (`Run: …`) or an action."""

    outcome: Outcome
    message: str
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to find out, within a time of its own."""

    name: str
    section: str
    find: Callable[[Paths], Finding]
    timeout_s: float = 5.0


def passed(message: str, *, detail: str = "") -> Finding:
    """All is well."""
    return Finding(outcome=Outcome.PASS, message=message, detail=detail)


def warned(message: str, *, detail: str = "", hint: str = "") -> Finding:
    """It works, but not as well as it could."""
    return Finding(outcome=Outcome.WARN, message=message, detail=detail, hint=hint)


def failed(message: str, *, detail: str = "", hint: str = "") -> Finding:
    """Sandboxes do not work until this is changed."""
    return Finding(outcome=Outcome.FAIL, message=message, detail=detail, hint=hint)


def skipped(message: str, *, hint: str = "") -> Finding:
    """It cannot be told yet."""
    return Finding(outcome=Outcome.SKIP, message=message, hint=hint)
