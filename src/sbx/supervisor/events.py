# SPDX-License-Identifier: Apache-2.0
"""What a supervisor tells: the machine-readable event log, and the report to whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sbx.control.messages import Problem, StartEvent, to_problem
from sbx.errors import SbxError, TransientError
from sbx.sandbox.state import State
from sbx.supervisor.readiness import Requirement
from sbx.system import codec

log = logging.getLogger(__name__)

_MAX_BYTES = 1 << 20


@dataclass(slots=True)
class Events:
    """Appends to a sandbox's `events.jsonl`, and reports the bring-up while somebody listens."""

    path: Path
    report: socket.socket | None
    began: float = field(default_factory=time.monotonic)

    def write(self, kind: str, **facts: str | float | int | None) -> None:
        """Append one event; a full disk must not end the sandbox, so a failure is only logged."""
        line = {
            "at": datetime.now(UTC).isoformat(),
            "since_s": self._since(),
            "event": kind,
            **facts,
        }
        try:
            if self.path.exists() and self.path.stat().st_size > _MAX_BYTES:
                self.path.replace(self.path.with_suffix(".jsonl.1"))
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.warning("event %s not written: %s", kind, error)

    def tell(self, state: State, phase: str, *, problem: Problem | None = None) -> None:
        """Report to the starter; when it is gone, nobody needs to know."""
        if self.report is None:
            return
        event = StartEvent(state=state, phase=phase, at_s=self._since(), problem=problem)
        data = json.dumps(codec.to_json(event)).encode() + b"\n"
        try:
            self.report.sendall(data)
        except OSError:
            self.hang_up()

    def hang_up(self) -> None:
        """End the report."""
        if self.report is not None:
            self.report.close()
            self.report = None

    @contextlib.asynccontextmanager
    async def phase(self, requirement: Requirement) -> AsyncGenerator[None]:
        """Run one step of the bring-up within its deadline, told and timed.

        Raises:
            TransientError: the deadline passed.
        """
        self.tell(State.STARTING, requirement.name)
        before = time.monotonic()
        outcome = "failed"
        try:
            async with asyncio.timeout(requirement.deadline_s):
                yield
            outcome = "done"
        except TimeoutError as error:
            outcome = "timeout"
            raise TransientError(
                f"{requirement.description} was not ready within {requirement.deadline_s:g} s",
                hint=requirement.hint,
            ) from error
        finally:
            taken = round(time.monotonic() - before, 4)
            self.write("phase", phase=requirement.name, outcome=outcome, taken_s=taken)

    def fail(self, error: SbxError) -> None:
        """Record and report what ended a bring-up or a run."""
        self.write("failure", message=error.message, hint=error.hint, details=error.details)
        self.tell(State.FAILED, "failed", problem=to_problem(error))

    def _since(self) -> float:
        return round(time.monotonic() - self.began, 4)
