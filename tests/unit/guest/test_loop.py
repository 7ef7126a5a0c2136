# SPDX-License-Identifier: Apache-2.0
"""The agent's event loop."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sbx.guest.loop import READ, Loop, Wake


@pytest.fixture
def logged() -> list[str]:
    return []


@pytest.fixture
def loop(logged: list[str]) -> Iterator[Loop]:
    found = Loop(logged.append)
    yield found
    found.close()


def test_timers_in_order_and_cancelled(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_after(0.02, lambda: seen.append("second"))
    loop.call_after(0.0, lambda: seen.append("first"))
    loop.call_after(0.01, lambda: seen.append("never")).cancel()
    loop.call_after(0.03, loop.stop)
    loop.run()
    assert seen == ["first", "second"]


def test_an_exception_is_logged_and_stops_nothing(loop: Loop, logged: list[str]) -> None:
    def fail() -> None:
        raise ValueError("oops")

    async def fail_later() -> None:
        raise ValueError("later")

    loop.start(fail_later())
    loop.call_after(0.0, fail)
    loop.call_after(0.01, loop.stop)
    loop.run()
    assert "oops" in logged[1]
    assert "later" in logged[0]


def test_a_coroutine_waits_for_a_descriptor_or_a_time(loop: Loop) -> None:
    read, write = os.pipe()
    seen: list[bool] = []

    async def work() -> None:
        seen.append(await loop.readable(read, 0.01))
        os.write(write, b"x")
        seen.append(await loop.readable(read, 10.0))
        seen.append(await loop.readable(read))
        loop.stop()

    loop.start(work())
    loop.run()
    assert seen == [False, True, True]
    os.close(read)
    os.close(write)


def test_a_watcher_may_remove_another_one(loop: Loop) -> None:
    pipes = [os.pipe() for _ in range(2)]
    seen: list[int] = []

    def on_event(number: int) -> None:
        seen.append(number)
        for read, _write in pipes:
            loop.unwatch(read)
        loop.call_after(0.0, loop.stop)

    for number, (read, write) in enumerate(pipes):
        loop.watch(read, READ, lambda _events, n=number: on_event(n))  # type: ignore[misc]
        os.write(write, b"x")
    loop.run()
    assert len(seen) == 1
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)


def test_only_the_first_wake_counts(loop: Loop) -> None:
    wake, seen = Wake(), list[object]()

    async def work() -> None:
        seen.append(await wake)
        loop.stop()

    wake.set(1)
    wake.set(2)
    loop.start(work())
    loop.run()
    assert seen == [1]
