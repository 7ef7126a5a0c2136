# SPDX-License-Identifier: Apache-2.0
"""The agent's event loop: epoll, timers, and coroutines that wait for descriptors.

asyncio would do, but its import takes a third of the whole agent's start under software emulation.
One thread, no signals: children are watched through their pidfd.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
EDGE = select.EPOLLET

Callback = Callable[[], None]
Watcher = Callable[[int], None]


class Timer:
    """A call in the future; `cancel` may be called at any time."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Wake:
    """A one-shot signal that a coroutine can await; the value set is what the wait returns."""

    __slots__ = ("_done", "_value", "_waiter")

    def __init__(self) -> None:
        self._done = False
        self._value: object = None
        self._waiter: Callback | None = None

    def set(self, value: object = None) -> None:
        """Wake the waiter; only the first call counts."""
        if self._done:
            return
        self._done, self._value = True, value
        if self._waiter is not None:
            self._waiter()

    def on_set(self, waiter: Callback) -> None:
        """Call `waiter` when set (at once if it is already)."""
        if self._done:
            waiter()
        else:
            self._waiter = waiter

    def __await__(self) -> Generator[Wake, None, object]:
        if not self._done:
            yield self
        return self._value


class Loop:
    """Calls back what is due, one after another; an exception in one never stops the others."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._soon: deque[Callback] = deque()
        self._stopped = False

    def set_log(self, log: Callable[[str], None]) -> None:
        """Where unexpected exceptions go from now on."""
        self._log = log

    def watch(self, fd: int, events: int, watcher: Watcher) -> None:
        """Call `watcher` with the events whenever one of `events` (or an error) is there."""
        self._epoll.register(fd, events)
        self._watchers[fd] = watcher

    def change(self, fd: int, events: int) -> None:
        """Other events for a watched descriptor."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; call it before closing. Unknown ones are ignored."""
        if self._watchers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_after(self, delay_s: float, callback: Callback) -> Timer:
        """Call once, `delay_s` seconds from now."""
        timer = Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._count, timer))
        return timer

    def start(self, work: Coroutine[Wake, None, None]) -> None:
        """Run a coroutine beside everything else."""

        def step() -> None:
            try:
                wake = work.send(None)
            except StopIteration:
                return
            wake.on_set(lambda: self._soon.append(step))

        self._soon.append(step)

    async def readable(self, fd: int, timeout_s: float | None = None) -> bool:
        """Wait until `fd` has something to read (or is at its end); False after `timeout_s`."""
        wake = Wake()
        timer = (
            None if timeout_s is None else self.call_after(timeout_s, lambda: wake.set(value=False))
        )
        self.watch(fd, READ, lambda _events: wake.set(value=True))
        try:
            return bool(await wake)
        finally:
            self.unwatch(fd)
            if timer is not None:
                timer.cancel()

    def stop(self) -> None:
        """Leave `run` after the current callback."""
        self._stopped = True

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopped:
            self._run_soon()
            if self._stopped:
                return
            for fd, events in self._poll():
                watcher = self._watchers.get(fd)  # an earlier callback may have removed it
                if watcher is not None:
                    self._guard(lambda w=watcher, e=events: w(e))  # type: ignore[misc]
            self._run_timers()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()

    def _poll(self) -> list[tuple[int, int]]:
        timeout_s = None if not self._soon else 0.0
        if self._timers and timeout_s is None:
            timeout_s = max(0.0, self._timers[0][0] - time.monotonic())
        try:
            return self._epoll.poll(timeout_s, 64)
        except OSError as error:
            if error.errno == errno.EINTR:
                return []
            raise

    def _run_soon(self) -> None:
        for _ in range(len(self._soon)):
            self._guard(self._soon.popleft())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                self._guard(timer.callback)

    def _guard(self, callback: Callback) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001 - one broken session must not take the agent down
            import traceback

            self._log(traceback.format_exc())


def close_quietly(fd: int) -> None:
    """close(2) where an error changes nothing."""
    try:
        os.close(fd)
    except OSError:
        pass
