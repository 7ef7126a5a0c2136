# SPDX-License-Identifier: Apache-2.0
"""Auto-stop: when the grace period runs and when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sbx.supervisor.idle import IdleTimer

# What happens: `keep` and `drop` (stay up without sessions, or not), `+` and `-` (a lease),
# a digit (so many sessions inside), `x` (over for good).
EVENTS: dict[str, Callable[[IdleTimer], None]] = {
    "keep": lambda timer: timer.keep(keep=True),
    "drop": lambda timer: timer.keep(keep=False),
    "+": lambda timer: timer.lease(+1),
    "-": lambda timer: timer.lease(-1),
    "0": lambda timer: timer.inside(0),
    "1": lambda timer: timer.inside(1),
    "x": IdleTimer.cancel,
}


def expires(events: str) -> bool:
    """Whether the timer expires after these events, once the loop has gone round."""

    async def scenario() -> bool:
        fired: list[None] = []
        timer = IdleTimer(0.0, lambda: fired.append(None))
        for event in events.split():
            EVENTS[event](timer)
        for _ in range(3):
            await asyncio.sleep(0)
        timer.cancel()
        return bool(fired)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("drop", True),
        ("keep", False),
        ("drop +", False),
        ("+ -", True),
        ("+ 1 -", False),
        ("1 0", True),
        ("+ + -", False),
        ("keep + -", False),
        ("keep drop", True),
        ("drop x", False),
    ],
)
def test_the_grace_period_runs_only_while_nothing_holds_it(events: str, expected: bool) -> None:
    assert expires(events) is expected


def test_a_leased_session_is_not_counted_twice() -> None:
    async def scenario() -> list[int]:
        timer, seen = IdleTimer(60, lambda: None), list[int]()
        timer.lease(+1)
        seen.append(timer.sessions)
        timer.inside(1)
        seen.append(timer.sessions)
        timer.lease(-1)
        seen.append(timer.sessions)
        timer.cancel()
        return seen

    assert asyncio.run(scenario()) == [1, 1, 1]
