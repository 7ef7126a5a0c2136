# SPDX-License-Identifier: Apache-2.0
"""Every decision about one sandbox: into the audit log, and to the user where they are asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import Future, ThreadPoolExecutor

from sbx.errors import HostError
from sbx.policy.hosts import Protocol, parse_host
from sbx.policy.rules import DenyKind
from sbx.proxy.events import Event
from sbx.store.approvals import MAX_PENDING, Pending, ask
from sbx.store.audit import log_of
from sbx.store.audit_writer import AuditWriter
from sbx.store.paths import Paths
from sbx.supervisor.audit import to_entry
from sbx.supervisor.events import Events

log = logging.getLogger(__name__)

_Question = tuple[str, int | None, Protocol]


class Recorder:
    """Takes events as they come, without waiting for any disk; `close` it at the end."""

    def __init__(
        self, where: Paths, sandbox: str, sandbox_id: str, events: Events, *, approvals: bool
    ) -> None:
        self._where = where
        self._sandbox = sandbox
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._log = AuditWriter(log_of(where, sandbox, sandbox_id), on_problem=self._on_problem)
        # One thread: what a guest asks for queues up here, and is bounded below.
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="ask") if approvals else None
        self._asking: set[_Question] = set()

    def __call__(self, event: Event) -> None:
        """Record an event."""
        log.debug("network: %s", event)
        self._log.record(to_entry(event))
        if self._asker is not None and (question := _question(event)) is not None:
            self._ask(self._asker, question)

    async def close(self) -> None:
        """Write what waits: entries for a bounded time, questions as many as there may be."""
        await asyncio.to_thread(self._log.close)
        if self._asker is not None:
            await asyncio.to_thread(self._asker.shutdown)

    def _ask(self, asker: ThreadPoolExecutor, question: _Question) -> None:
        if question in self._asking or len(self._asking) >= MAX_PENDING:
            return  # it is asked just now; or it comes again when there is room
        self._asking.add(question)
        host, port, protocol = question
        done = asker.submit(ask, self._where, self._sandbox, host, port, protocol)
        done.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._asked, question, done)
        )

    def _asked(self, question: _Question, done: Future[Pending | None]) -> None:
        self._asking.discard(question)
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, HostError | OSError):
            log.warning("the user is not asked about %s: %s", question[0], error)
        elif error is not None:
            raise error

    def _on_problem(self, problem: str | None) -> None:
        """The log cannot be written, or can again; told on the writer's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
            self._loop.call_soon_threadsafe(self._tell, problem)

    def _tell(self, problem: str | None) -> None:
        self._events.write("audit-log", problem=problem)


def _question(event: Event) -> _Question | None:
    """What the user would have to allow; None if nothing, or nothing that a rule could allow."""
    decision = event.decision
    if decision is None or decision.kind is not DenyKind.DEFAULT:
        return None
    if event.to is not None:
        return str(event.to.host), event.to.port, event.to.protocol
    return str(parse_host(event.name)), None, Protocol.TCP  # it was parsed before it was decided
