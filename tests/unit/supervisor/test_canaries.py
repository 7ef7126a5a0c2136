# SPDX-License-Identifier: Apache-2.0
"""Placeholders that went astray are kept, bounded, and end the sandbox where that is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import SbxError
from sbx.proxy.events import Event, Outcome, Via
from sbx.proxy.intercept.grants import canary
from sbx.sandbox.record import SandboxRecord
from sbx.store import records
from sbx.store.paths import Paths
from sbx.supervisor.canaries import MAX_CANARIES, Canaries
from sbx.supervisor.events import Events
from tests.kit.fake_supervisor import paths_below
from tests.unit.policy.factories import policy, to


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    where = paths_below(tmp_path)
    where.sandbox("one").mkdir(parents=True)
    records.write_record(where, "one", SandboxRecord())
    return where


def astray(host: str, name: str = "MY_KEY") -> Event:
    return Event(
        via=Via.EXPLICIT,
        outcome=Outcome.BLOCKED,
        to=to(host),
        decision=canary(f"the placeholder of secret {name} was on its way to {host}"),
        credentials=(name,),
    )


def test_each_is_kept_once_and_all_are_passed_on(where: Paths) -> None:
    passed: list[Event] = []
    events = Events(where.sandbox("one") / "events.jsonl", None)
    take = Canaries(where, "one", events, passed.append, None)
    blocked = Event(
        via=Via.DNS,
        outcome=Outcome.BLOCKED,
        name="a.com",
        decision=policy().connection(to("a.com")),
    )
    given = [astray("a.com"), astray("a.com"), astray("a.com", "OTHER"), blocked]
    for event in given:
        take(event)
    assert passed == given
    found = records.read_record(where, "one").canaries
    assert [(c.secret, c.place) for c in found] == [("MY_KEY", "a.com:443"), ("OTHER", "a.com:443")]
    assert events.path.read_text().count('"event": "canary"') == 2


def test_a_flood_is_bounded(where: Paths) -> None:
    take = Canaries(where, "one", Events(where.state / "e", None), lambda _: None, None)
    for number in range(MAX_CANARIES + 5):
        take(astray(f"h{number}.com"))
    assert len(records.read_record(where, "one").canaries) == MAX_CANARIES


def test_it_stops_the_sandbox_where_that_is_wanted(where: Paths) -> None:
    stopped: list[SbxError] = []
    take = Canaries(where, "one", Events(where.state / "e", None), lambda _: None, stopped.append)
    take(astray("evil.example"))
    assert "placeholder of secret MY_KEY was on its way to evil.example" in stopped[0].message
    assert "sandbox.stopOnCanary" in (stopped[0].hint or "")
