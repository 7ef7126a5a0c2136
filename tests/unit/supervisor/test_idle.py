# SPDX-License-Identifier: Apache-2.0
"""Auto-stop: when the grace period runs and when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sbx.supervisor.idle import IdleTimer

Act = Callable[[IdleTimer], None]


def expires(*acts: Act) -> bool:
    """Whether the timer expires after these events; the clock is the loop's own, moved by hand."""

    async def scenario() -> bool:
        fired: list[None] = []
        timer = IdleTimer(0.0, lambda: fired.append(None))
        for act in acts:
            act(timer)
        for _ in range(3):
            await asyncio.sleep(0)
        timer.cancel()
        return bool(fired)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        ([lambda t: t.keep(keep=False)], True),
        ([lambda t: t.keep(keep=True)], False),
        ([lambda t: t.keep(keep=False), lambda t: t.lease(+1)], False),
        ([lambda t: t.lease(+1), lambda t: t.lease(-1)], True),
        ([lambda t: t.lease(+1), lambda t: t.inside(1), lambda t: t.lease(-1)], False),
        ([lambda t: t.inside(1), lambda t: t.inside(0)], True),
        ([lambda t: t.lease(+1), lambda t: t.lease(+1), lambda t: t.lease(-1)], False),
        ([lambda t: t.keep(keep=True), lambda t: t.lease(+1), lambda t: t.lease(-1)], False),
        ([lambda t: t.keep(keep=True), lambda t: t.keep(keep=False)], True),
        ([lambda t: t.keep(keep=False), lambda t: t.cancel()], False),
    ],
)
def test_the_grace_period_runs_only_while_nothing_holds_it(acts: list[Act], expected: bool) -> None:
    assert expires(*acts) is expected


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
