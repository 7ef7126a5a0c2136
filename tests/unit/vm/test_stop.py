# SPDX-License-Identifier: Apache-2.0
"""The stop ladder against a machine that ignores each of its steps in turn."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from sbx.errors import PermanentError, TransientError
from sbx.vm.machine import MachineConfig, start_machine
from sbx.vm.stop import StopDeadlines, StopStep, stop_machine

QUICK = StopDeadlines(agent_s=0.05, power_button_s=0.05, quit_s=0.05, term_s=0.05, kill_s=0.05)
LADDER = list(StopStep)[1:]


class Stubborn:
    """Ends at one step only; notes what was tried."""

    def __init__(self, heeds: StopStep | None, *, refuses: bool = False) -> None:
        self.ended = asyncio.Event()
        self.tried: list[StopStep] = []
        self._heeds = heeds
        self._refuses = refuses

    def _try(self, step: StopStep) -> None:
        self.tried.append(step)
        if step is self._heeds:
            self.ended.set()

    async def ask_agent(self) -> None:
        self._try(StopStep.AGENT)
        if self._refuses:
            raise TransientError("the agent is gone")

    async def power_down(self) -> None:
        self._try(StopStep.POWER_BUTTON)
        if self._refuses:
            raise TransientError("QEMU is gone")

    async def quit(self) -> None:
        self._try(StopStep.QMP_QUIT)
        if self._refuses:
            raise OSError("broken pipe")

    def signal(self, number: signal.Signals) -> None:
        steps = {signal.SIGTERM: StopStep.TERM, signal.SIGKILL: StopStep.KILL}
        self._try(steps[number])


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("heeds", LADDER)
def test_each_step_follows_the_one_that_was_ignored(heeds: StopStep, refuses: bool) -> None:
    async def main() -> None:
        made = Stubborn(heeds, refuses=refuses)
        assert await stop_machine(made, made.ask_agent, deadlines=QUICK) is heeds
        assert made.tried == LADDER[: LADDER.index(heeds) + 1]

    asyncio.run(main())


def test_without_an_agent_the_ladder_starts_at_the_power_button() -> None:
    async def main() -> None:
        made = Stubborn(StopStep.QMP_QUIT)
        assert await stop_machine(made, None, deadlines=QUICK) is StopStep.QMP_QUIT
        assert made.tried == [StopStep.POWER_BUTTON, StopStep.QMP_QUIT]

    asyncio.run(main())


def test_an_ended_machine_is_left_in_peace() -> None:
    async def main() -> None:
        made = Stubborn(None)
        made.ended.set()
        assert await stop_machine(made, made.ask_agent) is StopStep.ALREADY_ENDED
        assert made.tried == []

    asyncio.run(main())


def test_an_agent_that_never_answers_costs_its_deadline_only() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        made = Stubborn(StopStep.POWER_BUTTON)
        assert await stop_machine(made, never, deadlines=QUICK) is StopStep.POWER_BUTTON

    asyncio.run(main())


def test_what_nothing_ends_is_an_error() -> None:
    async def main() -> None:
        made = Stubborn(None)
        with pytest.raises(PermanentError, match="not even by SIGKILL"):
            await stop_machine(made, made.ask_agent, deadlines=QUICK)
        assert made.tried == LADDER

    asyncio.run(main())


@pytest.mark.parametrize(
    ("behaviour", "expected"), [("normal", StopStep.QMP_QUIT), ("deaf", StopStep.KILL)]
)
def test_a_real_process_is_stopped(
    config: MachineConfig, pretend: Callable[[str], None], behaviour: str, expected: StopStep
) -> None:
    pretend(behaviour)
    deadlines = StopDeadlines(
        agent_s=0.1, power_button_s=0.1, quit_s=2.0 if behaviour == "normal" else 0.1, term_s=0.1
    )

    async def main() -> None:
        async with start_machine(config) as made:
            assert await stop_machine(made, None, deadlines=deadlines) is expected
            assert made.ended.is_set()
            with pytest.raises(ProcessLookupError):
                os.kill(made.pid, 0)

    asyncio.run(main())
