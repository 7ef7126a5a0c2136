# SPDX-License-Identifier: Apache-2.0
"""The guest's clock follows the host's when that is set, or after the host has slept."""

from __future__ import annotations

import asyncio
import logging
import time

from sbx.agent.control import AgentControl
from sbx.errors import SbxError
from sbx.supervisor.events import Events
from sbx.system.clock import ClockWatch

log = logging.getLogger(__name__)

_ANSWER_TIMEOUT_S = 5.0


async def follow_clock(agent: AgentControl, events: Events) -> None:
    """Set the guest's clock after each jump of the host's; ends only by an error of the host."""
    watch = ClockWatch()
    try:
        while True:
            await watch.jumped()
            events.write("clock-jump")
            await set_clock(agent)
    finally:
        watch.close()


async def set_clock(agent: AgentControl) -> None:
    """Give the guest the host's time; one that does not take it keeps its own."""
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await agent.set_time(time.time_ns())
    except (SbxError, TimeoutError) as error:
        log.warning("the guest's clock was not set: %s", str(error) or "no answer")
