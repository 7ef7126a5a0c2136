# SPDX-License-Identifier: Apache-2.0
"""The transition table, over all pairs."""

from __future__ import annotations

from itertools import product

import pytest

from sbx.errors import ConflictError
from sbx.sandbox.state import State, can_move, move

LEGAL = {
    ("creating", "starting"), ("creating", "stopped"), ("creating", "failed"),
    ("creating", "removing"), ("starting", "running"), ("starting", "stopping"),
    ("starting", "failed"), ("running", "stopping"), ("running", "failed"),
    ("stopping", "stopped"), ("stopping", "failed"), ("stopped", "starting"),
    ("stopped", "removing"), ("failed", "starting"), ("failed", "removing"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_every_pair_is_legal_or_raises_with_both_names(before: State, after: State) -> None:
    if (before.value, after.value) in LEGAL:
        assert move(before, after) is after
    else:
        with pytest.raises(ConflictError) as caught:
            move(before, after)
        assert before in str(caught.value)
        assert after in str(caught.value)


def test_every_working_state_can_fail() -> None:
    for state in (State.CREATING, State.STARTING, State.RUNNING, State.STOPPING):
        assert can_move(state, State.FAILED)


def test_every_state_but_the_last_can_reach_removal() -> None:
    reach = {State.REMOVING}
    while grown := {s for s in State if s not in reach and any(can_move(s, r) for r in reach)}:
        reach |= grown
    assert reach == set(State)
