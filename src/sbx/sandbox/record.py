# SPDX-License-Identifier: Apache-2.0
"""What was made on the host for a sandbox, written before it is made, so that it can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sbx.sandbox.git import GitState
from sbx.sandbox.parts import Accel
from sbx.sandbox.ports import Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the last start or run ended badly, in the words of the error."""

    message: str
    hint: str | None
    details: str | None
    at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A placeholder that was on its way to a wrong place, and was blocked."""

    secret: str  # its name
    place: str  # `host:port`
    at: datetime  # UTC, the first time


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """The host's side of a sandbox; everything here may be stale after a crash, and is checked."""

    starts: int = 0  # completed bring-ups
    supervisor_pid: int | None = None  # set while a supervisor should be alive
    cgroup: Path | None = None  # set while there may be one
    accel: Accel | None = None  # of the last start
    last_used_at: datetime | None = None  # UTC, end of the last session
    stopped_at: datetime | None = None  # UTC
    detached: bool = False  # keeps running after the last session
    failure: Failure | None = None
    git: GitState | None = None  # what was last brought over, in branch and clone mode
    canaries: tuple[Canary, ...] = ()
    published: tuple[Publication, ...] = ()  # ports, whether it runs or not
