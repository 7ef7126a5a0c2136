# SPDX-License-Identifier: Apache-2.0
"""Every event is in the log, and what no rule allows becomes a question where that is wanted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sbx.policy.rules import Decision, DenyKind
from sbx.proxy.events import Event, Outcome, Via
from sbx.store.approvals import MAX_PENDING, pending
from sbx.store.audit import audit_folder, log_of
from sbx.store.audit_reader import records, verify
from sbx.store.paths import Paths
from sbx.supervisor.events import Events
from sbx.supervisor.recorder import Recorder
from tests.kit.fake_supervisor import paths_below
from tests.unit.policy.factories import policy, to

ID = "0123456789abcdef"
UNDECIDED = policy().connection(to("a.com"))
DENIED = policy("deny a.com").connection(to("a.com"))


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    where = paths_below(tmp_path)
    where.state.mkdir(parents=True)
    return where


def blocked(host: str, decision: Decision = UNDECIDED) -> Event:
    return Event(via=Via.EXPLICIT, outcome=Outcome.BLOCKED, to=to(host), decision=decision)


def record(where: Paths, *events: Event, approvals: bool = True) -> None:
    async def run() -> None:
        recorder = Recorder(where, "one", ID, Events(where.state / "e", None), approvals=approvals)
        for event in events:
            recorder(event)
        await recorder.close()

    asyncio.run(run())


def test_events_are_logged(where: Paths) -> None:
    record(where, *(blocked(f"h{n}.com") for n in range(20)), approvals=False)
    log = log_of(where, "one", ID)
    found = [r.entry.host for r in records(log) if r.entry]
    assert found == [f"h{n}.com" for n in range(20)]
    assert verify(log).problems == []
    assert pending(where) == []


def test_what_no_rule_allows_is_asked_about(where: Paths) -> None:
    lookup = Event(via=Via.DNS, outcome=Outcome.BLOCKED, name="B.com.", decision=UNDECIDED)
    record(where, blocked("a.com"), blocked("a.com"), lookup, blocked("c.com:22"))
    assert [one.resource for one in pending(where)] == ["a.com:443", "b.com", "c.com:22"]


@pytest.mark.parametrize(
    "decision",
    [DENIED, Decision(allowed=False, kind=DenyKind.ADDRESS, reason="x"),
     Decision(allowed=False, kind=DenyKind.UNINITIALIZED, reason="x")],
)  # fmt: skip
def test_other_denials_are_no_question(where: Paths, decision: Decision) -> None:
    record(where, blocked("a.com", decision))
    assert pending(where) == []


def test_a_flood_of_names_is_bounded(where: Paths) -> None:
    record(where, *(blocked(f"h{n}.com") for n in range(10 * MAX_PENDING)))
    assert len(pending(where)) == MAX_PENDING


def test_a_log_that_cannot_be_written_stops_nothing_and_is_told(where: Paths) -> None:
    audit_folder(where).write_text("in the way")
    record(where, blocked("a.com"))
    assert [one.resource for one in pending(where)] == ["a.com:443"]
    assert '"event": "audit-log", "problem": "Not a directory"' in (where.state / "e").read_text()
