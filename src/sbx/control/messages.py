# SPDX-License-Identifier: Apache-2.0
"""What a command line and a supervisor say to each other: one request and reply per connection.

JSON, one object a line (docs/control-protocol.md). A session's connected socket comes with the
reply as a descriptor (SCM_RIGHTS, unix(7)): its data never runs through the supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sbx import errors
from sbx.errors import PermanentError, SbxError
from sbx.sandbox.ports import PortBinding, PortSelector, Publication
from sbx.sandbox.state import State
from sbx.sandbox.status import Live

GENERATION = 1


class Verb(StrEnum):
    """What is asked of a supervisor."""

    STATUS = "status"
    READY = "ready"  # replies when the bring-up is over, well or not
    SESSION = "session"  # the reply carries a descriptor; the open connection is the lease
    KEEP = "keep"  # change whether it stays running after the last session
    SYNC = "sync"  # replies when the sandbox's commits are on the host
    POLICY = "policy"  # replies when the stored policy is in force
    PORTS = "ports"  # publish, then unpublish; either may be empty
    GROW = "grow"  # replies when the data disk and its file system are so large
    STOP = "stop"  # replies when the machine is down, then the supervisor ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a supervisor."""

    generation: int = GENERATION
    verb: Verb
    keep: bool = False  # for KEEP
    details: bool = False  # for STATUS: also ask the guest, which may take a second
    publish: tuple[Publication, ...] = ()  # for PORTS
    unpublish: tuple[PortSelector, ...] = ()
    disk_bytes: int = 0  # for GROW


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An `SbxError` on its way to another process."""

    kind: str
    message: str
    hint: str | None = None
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; `problem` is set when the request failed."""

    problem: Problem | None = None
    live: Live | None = None
    step: str | None = None  # for STOP: the step of the stop ladder that worked
    ports: tuple[PortBinding, ...] = ()  # for PORTS: what came
    gone: tuple[PortBinding, ...] = ()  # and what went


@dataclass(frozen=True, slots=True, kw_only=True)
class StartEvent:
    """One line of a supervisor's report to whoever started it."""

    state: State
    phase: str  # a name from supervisor/runtime.py, or `listening`
    at_s: float  # since the supervisor began
    note: str | None = None
    problem: Problem | None = None  # set when the bring-up failed


def to_problem(error: SbxError) -> Problem:
    """Describe an error for the wire."""
    return Problem(
        kind=type(error).__name__, message=error.message, hint=error.hint, details=error.details
    )


def to_error(problem: Problem) -> SbxError:
    """Rebuild an error from the wire; an unknown kind is a permanent one."""
    kind = getattr(errors, problem.kind, PermanentError)
    chosen = kind if isinstance(kind, type) and issubclass(kind, SbxError) else PermanentError
    return chosen(problem.message, hint=problem.hint, details=problem.details)
