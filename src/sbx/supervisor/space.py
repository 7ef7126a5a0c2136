# SPDX-License-Identifier: Apache-2.0
"""When the host's disk is full: the machine stands still, and goes on once there is space again.

Its memory and its disk stay whole, so an agent that worked all night is not lost. Nothing tells
when space comes back, so this looks every few seconds, and only while the machine stands still.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from sbx.agent.control import AgentControl
from sbx.errors import HostError
from sbx.supervisor.clock import set_clock
from sbx.supervisor.events import Events
from sbx.vm.disk import check_space
from sbx.vm.machine import Machine

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 2.0


async def keep_going(machine: Machine, agent: AgentControl, folder: Path, events: Events) -> None:
    """Let the machine go on after each time that it ran out of space; ends only by an error."""
    while True:
        await machine.disk_full.wait()
        events.write("disk-full", folder=str(folder))
        await _space(folder)
        log.info("there is space again, the machine goes on")
        machine.disk_full.clear()
        await machine.resume()
        events.write("disk-space")
        await set_clock(agent)  # it stood still, too


def standing_still(name: str, folder: Path) -> HostError:
    """What a new session is told meanwhile."""
    return HostError(
        f"no space left in `{folder}`: sandbox `{name}` stands still until there is some",
        hint="Free some disk space, or run: sbx prune --cache; it then goes on by itself",
    )


async def _space(folder: Path) -> None:
    while True:
        await asyncio.sleep(_LOOK_AGAIN_S)
        try:
            check_space(folder)
        except HostError:
            continue
        return
