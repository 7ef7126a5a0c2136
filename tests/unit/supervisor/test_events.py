# SPDX-License-Identifier: Apache-2.0
"""The event log and the report: complete, bounded, and never in the sandbox's way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.control.messages import StartEvent
from sbx.errors import PermanentError, TransientError
from sbx.sandbox.state import State
from sbx.supervisor.events import Events
from sbx.supervisor.readiness import ALL, Requirement
from sbx.system import codec


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def lines(path: Path) -> list[dict[str, object]]:
    """The events in a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def heard(sock: socket.socket) -> list[StartEvent]:
    """What was reported so far."""
    sock.settimeout(0)
    try:
        data = sock.recv(1 << 16)
    except BlockingIOError:
        return []
    return [codec.loads(StartEvent, line) for line in data.splitlines()]


@pytest.mark.parametrize("requirement", ALL, ids=lambda requirement: requirement.name)
def test_what_never_comes_true_becomes_a_sentence_with_a_remedy(
    requirement: Requirement, tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    events = Events(tmp_path / "events", pair[0])

    async def scenario() -> None:
        async with events.phase(replace(requirement, deadline_s=0)):
            await asyncio.Event().wait()

    with pytest.raises(TransientError) as caught:
        asyncio.run(scenario())
    assert caught.value.message.startswith(requirement.description)
    assert caught.value.hint == requirement.hint
    assert lines(tmp_path / "events")[0]["outcome"] == "timeout"
    assert [e.phase for e in heard(pair[1])] == [requirement.name]


def test_a_phase_is_timed_and_an_error_in_it_is_not_a_timeout(tmp_path: Path) -> None:
    events = Events(tmp_path / "events", None)

    async def scenario() -> None:
        async with events.phase(ALL[0]):
            pass
        async with events.phase(ALL[1]):
            raise PermanentError("no")

    with pytest.raises(PermanentError):
        asyncio.run(scenario())
    first, second = lines(tmp_path / "events")
    assert (first["phase"], first["outcome"]) == (ALL[0].name, "done")
    assert (second["phase"], second["outcome"]) == (ALL[1].name, "failed")


def test_a_failure_is_recorded_and_reported(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    Events(tmp_path / "events", pair[0]).fail(PermanentError("it broke", hint="mend it"))
    assert lines(tmp_path / "events")[0]["message"] == "it broke"
    (event,) = heard(pair[1])
    assert event.state is State.FAILED
    assert event.problem is not None
    assert event.problem.hint == "mend it"


def test_a_starter_that_went_away_is_not_missed(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    events = Events(tmp_path / "events", pair[0])
    pair[1].close()
    events.tell(State.STARTING, "boot")
    events.tell(State.RUNNING, "ready")
    assert events.report is None


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    Events(tmp_path / "missing" / "events", None).write("started")


def test_the_log_is_bounded(tmp_path: Path) -> None:
    events = Events(tmp_path / "events.jsonl", None)
    for _ in range(40):
        events.write("big", text="x" * 50_000)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 1_200_000
