# SPDX-License-Identifier: Apache-2.0
"""Start: spawn a sandbox's supervisor and follow its report until the sandbox is ready."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Generator

from sbx.control.client import MAX_LINE_BYTES, connect
from sbx.control.messages import Request, StartEvent, Verb, to_error
from sbx.errors import ConflictError, PermanentError, SbxError
from sbx.image.store import ImageStore
from sbx.lifecycle.standby import Standby
from sbx.lifecycle.status import status
from sbx.sandbox.spec import SandboxSpec
from sbx.sandbox.state import State
from sbx.sandbox.status import SandboxStatus
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths, make_private
from sbx.system import codec
from sbx.system.files import owned_fd, private_folder
from sbx.system.locks import hold_lock, hold_slot
from sbx.system.progress import Progress

Listener = Callable[[StartEvent], None]

_STOP_TIMEOUT_S = 60.0
_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def start(
    where: Paths,
    name: str,
    *,
    progress: Progress,
    listener: Listener,
    is_new: bool = False,
    standby: Standby | None = None,
) -> SandboxStatus:
    """Bring a sandbox up, or wait until somebody else's start is over; returns when it is ready.

    A `standby` supervisor is used if one is needed; the caller closes it.

    Parts that are missing, after an upgrade of ours or a loss, are built first. A caller that is
    interrupted takes its own start back.

    Raises:
        NotFoundError: there is no such sandbox.
        ConflictError: what its kits bring was never finished.
        SbxError: what went wrong, as the supervisor reports it.
    """
    make_private(where)
    spec = records.read_spec(where, name)
    if spec.recipe.kits and not is_new:
        _check_finished(where, name)
    with hold_lock(where.sandbox(name) / names.VERB_LOCK):
        now = status(where, name)
        match now.state:
            case State.RUNNING:
                return now
            case State.STARTING | State.STOPPING:
                _await_ready(where, now)
            case _:
                ImageStore(where.cache).prepare_machine(progress)
                _launch(where, now, listener, standby)
                if spec.recipe.startup and not is_new:
                    _run_startup(where, spec)
        return status(where, name)


def _run_startup(where: Paths, spec: SandboxSpec) -> None:
    from sbx.lifecycle.startup import run_startup  # noqa: PLC0415 - only for kits that have steps

    run_startup(where, spec.name, spec.recipe.startup)


def _check_finished(where: Paths, name: str) -> None:
    """A sandbox whose creation was killed before its kits were carried out is no use."""
    if not (where.sandbox(name) / names.KITS_DONE).exists():
        raise ConflictError(
            f"sandbox `{name}` was never finished: its creation was cut off",
            hint=f"Run: sbx rm {name}, and create it again",
        )


def _await_ready(where: Paths, now: SandboxStatus) -> None:
    """The starter was killed and its supervisor goes on, or the last one is on its way down."""
    socket_path = where.run_folder(now.spec.id) / names.CONTROL_SOCKET
    with connect(socket_path) as client:
        client.ask(Request(verb=Verb.READY), timeout_s=None)


def _launch(where: Paths, now: SandboxStatus, listener: Listener, standby: Standby | None) -> None:
    private_folder(where.run_folder(now.spec.id))
    # Boots are bound to the processor: as many at once as there are cores end soonest, all of them.
    slots = max(os.cpu_count() or 1, 1)
    with (
        hold_slot(where.runtime / "boot-slots", slots) as slot,
        _report_sockets() as (ours, theirs),
    ):
        try:
            _hand_over(where, now.spec.name, standby, report=theirs.fileno(), slot=slot)
            theirs.close()
            os.close(slot)  # the supervisor has it, and gives it back when the guest is up
            _follow(ours, listener)
        except (KeyboardInterrupt, SystemExit):
            _take_back(where, now)
            raise


@contextlib.contextmanager
def _report_sockets() -> Generator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _hand_over(where: Paths, name: str, standby: Standby | None, *, report: int, slot: int) -> None:
    """Give a supervisor its orders: the one that is loaded, else a new one."""
    path = where.sandbox(name) / names.SUPERVISOR_LOG
    with owned_fd(os.open(path, _LOG_FLAGS, 0o600)) as log:
        if standby is not None and standby.order(name, report=report, slot=slot, log=log):
            return
        with contextlib.closing(Standby(where, log=log)) as fresh:
            if not fresh.order(name, report=report, slot=slot, log=log):
                raise PermanentError("the supervisor did not start", hint=f"See: {path}")


def _follow(report: socket.socket, listener: Listener) -> None:
    """Hand over each event until the sandbox is ready; raise what the supervisor reports."""
    with report.makefile("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES):
            event = codec.from_json(StartEvent, json.loads(line))
            listener(event)
            if event.problem is not None:
                raise to_error(event.problem)
            if event.state is State.RUNNING:
                return
    raise PermanentError(
        "the supervisor ended before the sandbox was ready",
        hint="Try again, then run: sbx diagnose",
    )


def _take_back(where: Paths, now: SandboxStatus) -> None:
    with (
        contextlib.suppress(SbxError),
        connect(where.run_folder(now.spec.id) / names.CONTROL_SOCKET) as client,
    ):
        client.ask(Request(verb=Verb.STOP), timeout_s=_STOP_TIMEOUT_S)
        client.wait_closed()
