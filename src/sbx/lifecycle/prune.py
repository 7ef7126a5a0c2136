# SPDX-License-Identifier: Apache-2.0
"""Prune and reset: remove many sandboxes at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

from sbx.errors import NotFoundError
from sbx.lifecycle.leftovers import sweep_builders
from sbx.lifecycle.remove import remove
from sbx.lifecycle.status import list_all, status, survey
from sbx.sandbox.state import State
from sbx.sandbox.status import SandboxStatus
from sbx.store import records
from sbx.store.paths import Paths

_AT_REST = (State.STOPPED, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What a prune would do."""

    remove: tuple[SandboxStatus, ...]
    skipped_unknown_stop: tuple[
        str, ...
    ]  # names; never started, or from before stops were recorded


def plan_prune(where: Paths, *, until: datetime | None = None) -> PrunePlan:
    """The stopped sandboxes, or those of them that stopped before `until`."""
    stopped = [s for s in list_all(where) if s.state in _AT_REST]
    unknown = tuple(s.spec.name for s in stopped if s.record.stopped_at is None)
    known = (s for s in stopped if s.record.stopped_at is not None)
    return PrunePlan(
        remove=tuple(s for s in known if until is None or _stopped(s) < until),
        skipped_unknown_stop=unknown,
    )


def prune(where: Paths, plan: PrunePlan) -> tuple[str, ...]:
    """Carry a plan out; returns the names that were removed. One that runs by now is left alone."""
    removed: list[str] = []
    for planned in plan.remove:
        with contextlib.suppress(NotFoundError):
            now = status(where, planned.spec.name)
            if now.spec.id == planned.spec.id and now.state in _AT_REST:
                remove(where, planned.spec.name)
                removed.append(planned.spec.name)
    records.sweep(where)
    sweep_builders(where)
    return tuple(removed)


def remove_all(where: Paths) -> tuple[str, ...]:
    """Stop and delete every sandbox, damaged ones too; returns their names."""
    found = survey(where)
    doomed = (*(s.spec.name for s in found.sandboxes), *found.damaged)
    for name in doomed:
        remove(where, name, force=True)
    records.sweep(where)
    return doomed


def _stopped(one: SandboxStatus) -> datetime:
    assert one.record.stopped_at is not None
    return one.record.stopped_at
