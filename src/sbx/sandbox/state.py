# SPDX-License-Identifier: Apache-2.0
"""The states of a sandbox and the moves between them."""

from __future__ import annotations

from enum import StrEnum

from sbx.errors import ConflictError


class State(StrEnum):
    """Where a sandbox stands. Each working state has a failed neighbour (`FAILED`)."""

    CREATING = "creating"  # the folder is being written
    STARTING = "starting"  # a supervisor brings the machine up
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # the last start or run ended badly; the data disk is kept
    REMOVING = "removing"


_MOVES: dict[State, frozenset[State]] = {
    State.CREATING: frozenset({State.STARTING, State.STOPPED, State.FAILED, State.REMOVING}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING, State.FAILED}),
    State.RUNNING: frozenset({State.STOPPING, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset({State.STARTING, State.REMOVING}),
    State.FAILED: frozenset({State.STARTING, State.REMOVING}),
    State.REMOVING: frozenset(),
}


def can_move(before: State, after: State) -> bool:
    """Whether the table has this move."""
    return after in _MOVES[before]


def move(before: State, after: State) -> State:
    """Return `after`.

    Raises:
        ConflictError: the table does not have this move.
    """
    if not can_move(before, after):
        raise ConflictError(f"a sandbox that is {before} cannot become {after}")
    return after
