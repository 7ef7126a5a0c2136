# SPDX-License-Identifier: Apache-2.0
"""Memory as the guest's kernel tells it, here the host's."""

from __future__ import annotations

import os

from sbx.guest.loop import Loop
from sbx.guest.memory import memory_bytes, wait_for_memory
from sbx.guest.netlink import Uevents


def test_the_size_is_the_kernels() -> None:
    pages = os.sysconf("SC_PHYS_PAGES")
    assert memory_bytes() == pages * os.sysconf("SC_PAGE_SIZE")


def test_waiting_ends_when_it_is_there_and_when_it_does_not_come() -> None:
    loop, uevents, found = Loop(print), Uevents(), list[bool]()

    async def body() -> None:
        found.append(await wait_for_memory(loop, uevents, memory_bytes(), 1.0))
        found.append(await wait_for_memory(loop, uevents, 1 << 60, 0.01))
        loop.stop()

    loop.start(body())
    loop.run()
    loop.close()
    uevents.close()
    assert found == [True, False]
