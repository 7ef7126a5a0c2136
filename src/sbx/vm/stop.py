# SPDX-License-Identifier: Apache-2.0
"""The stop ladder: ask the guest, press the power button, end QEMU, TERM, KILL; each step bounded.

The agent's step is the one that unmounts the data disk in order. From `QMP_QUIT` on the guest is
cut off: its journal repairs the file system at the next start, and what was not flushed is lost.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sbx.errors import PermanentError, SbxError

log = logging.getLogger(__name__)


class StopStep(StrEnum):
    """The step after which the machine had ended."""

    ALREADY_ENDED = "already ended"
    AGENT = "agent"
    POWER_BUTTON = "power button"
    QMP_QUIT = "QMP quit"
    TERM = "SIGTERM"
    KILL = "SIGKILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopDeadlines:
    """How long each step may take, in seconds."""

    agent_s: float = 35.0  # containers, then processes get their grace inside; disks are flushed
    power_button_s: float = 3.0
    quit_s: float = 5.0  # QEMU flushes what it holds
    term_s: float = 3.0
    kill_s: float = 10.0


class Stoppable(Protocol):
    """What the ladder needs of a machine."""

    @property
    def ended(self) -> asyncio.Event: ...
    async def power_down(self) -> None: ...
    async def quit(self) -> None: ...
    def signal(self, number: signal.Signals) -> None: ...


AskAgent = Callable[[], Awaitable[None]]
_Step = tuple[StopStep, Callable[[], Awaitable[None]], float]

_DEADLINES = StopDeadlines()
_LOST_CONNECTION_S = 1.0  # QEMU closes its sockets just before it is gone


async def stop_machine(
    machine: Stoppable, ask_agent: AskAgent | None, *, deadlines: StopDeadlines = _DEADLINES
) -> StopStep:
    """Stop the machine and say which step did it; `ask_agent` is None if no agent ever answered.

    Raises:
        PermanentError: it is still there after SIGKILL and its deadline.
    """
    if machine.ended.is_set():
        return StopStep.ALREADY_ENDED
    for step, action, deadline_s in _ladder(machine, ask_agent, deadlines):
        if await _try_step(machine, step, action, deadline_s):
            log.info("machine stopped by: %s", step)
            return step
    raise PermanentError(
        "the machine does not end, not even by SIGKILL",
        hint="Look for a process in state D (ps -eo pid,stat,comm) and for disk errors (dmesg)",
    )


def _ladder(
    machine: Stoppable, ask_agent: AskAgent | None, deadlines: StopDeadlines
) -> list[_Step]:
    async def term() -> None:
        machine.signal(signal.SIGTERM)

    async def kill() -> None:
        machine.signal(signal.SIGKILL)

    steps: list[_Step] = [
        (StopStep.POWER_BUTTON, machine.power_down, deadlines.power_button_s),
        (StopStep.QMP_QUIT, machine.quit, deadlines.quit_s),
        (StopStep.TERM, term, deadlines.term_s),
        (StopStep.KILL, kill, deadlines.kill_s),
    ]
    if ask_agent is not None:
        steps.insert(0, (StopStep.AGENT, ask_agent, deadlines.agent_s))
    return steps


async def _try_step(
    machine: Stoppable, step: StopStep, action: Callable[[], Awaitable[None]], deadline_s: float
) -> bool:
    """Whether the machine ended within the deadline of this step."""
    try:
        async with asyncio.timeout(deadline_s):
            try:
                await action()
            except (SbxError, OSError, EOFError) as error:
                # A connection lost here may be the machine's end itself: it still gets its time,
                # but a step that was refused need not be waited for.
                log.debug("stop step %s: %s", step, error)
                if not machine.ended.is_set():
                    async with asyncio.timeout(_LOST_CONNECTION_S):
                        await machine.ended.wait()
            await machine.ended.wait()
    except TimeoutError:
        log.warning("machine did not stop by: %s", step)
        return False
    return True
