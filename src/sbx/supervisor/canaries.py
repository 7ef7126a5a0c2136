# SPDX-License-Identifier: Apache-2.0
"""Placeholders on their way to wrong places: kept for `sbx inspect`, and a reason to stop.

What was blocked is in the audit log, each time. Here each secret and destination counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sbx.errors import PermanentError, SbxError
from sbx.policy.rules import DenyKind
from sbx.proxy.events import Event
from sbx.sandbox.record import Canary
from sbx.store import records
from sbx.store.paths import Paths
from sbx.supervisor.events import Events
from sbx.supervisor.way_out import OnEvent

MAX_CANARIES = 16  # kept: a guest may send as many as it likes


class Canaries:
    """Takes every event of the way out, and passes it on; `stop` ends the sandbox."""

    def __init__(
        self,
        where: Paths,
        sandbox: str,
        events: Events,
        record: OnEvent,
        stop: Callable[[SbxError], None] | None,
    ) -> None:
        self._where = where
        self._sandbox = sandbox
        self._events = events
        self._record = record
        self._stop = stop

    def __call__(self, event: Event) -> None:
        """Record an event."""
        self._record(event)
        decision = event.decision
        if decision is None or decision.kind is not DenyKind.CANARY:
            return
        secret, place = ", ".join(event.credentials), str(event.to)
        known = records.read_record(self._where, self._sandbox).canaries
        if len(known) < MAX_CANARIES and (secret, place) not in {
            (k.secret, k.place) for k in known
        }:
            found = Canary(secret=secret, place=place, at=datetime.now(UTC))
            self._events.write("canary", secret=secret, place=place)
            records.update_record(self._where, self._sandbox, canaries=(*known, found))
        if self._stop is not None:
            self._stop(
                PermanentError(
                    f"stopped: {decision.reason}",
                    hint="See `sbx policy log`; setting sandbox.stopOnCanary is what ends it",
                )
            )
