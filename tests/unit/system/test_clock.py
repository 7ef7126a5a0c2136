# SPDX-License-Identifier: Apache-2.0
"""A jump of the clock is told; that needs root, so the rest is in tests/vm/test_lifecycle.py."""

from __future__ import annotations

import asyncio
import os

import pytest

from sbx.system.clock import ClockWatch


def test_a_clock_that_runs_on_tells_nothing_and_nothing_stays_open() -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only

    async def main() -> None:
        watch = ClockWatch()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await watch.jumped()
        finally:
            watch.close()
            watch.close()

    asyncio.run(main())
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names only
