# SPDX-License-Identifier: Apache-2.0
"""Status: what is true of each sandbox, found out by asking its lock and its supervisor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sbx.control.client import ControlClient, connect
from sbx.control.messages import Request, Verb
from sbx.errors import NotFoundError, SbxError
from sbx.lifecycle.reconcile import reconcile
from sbx.sandbox.record import SandboxRecord
from sbx.sandbox.spec import SandboxSpec
from sbx.sandbox.state import State
from sbx.sandbox.status import Live, SandboxStatus
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.files import allocated_bytes
from sbx.system.locks import is_locked

_ANSWER_TIMEOUT_S = 2.0  # for all supervisors together: a wedged one must not hold up `ls`


@dataclass(slots=True)
class _Asked:
    spec: SandboxSpec
    record: SandboxRecord
    alive: bool
    client: ControlClient | None = None
    live: Live | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All sandboxes, each read once."""

    sandboxes: tuple[SandboxStatus, ...]  # by name
    damaged: dict[str, SbxError]  # whose files cannot be read, and why


def status(where: Paths, name: str, *, details: bool = False) -> SandboxStatus:
    """The status of one sandbox; `details` asks the guest for its figures too.

    Raises:
        NotFoundError: there is no such sandbox.
    """
    with contextlib.ExitStack() as stack:
        return _answers(where, [_ask(where, name, stack, details=details)])[0]


def survey(where: Paths) -> Survey:
    """The status of every sandbox that can be read, and what is wrong with the others."""
    asked: list[_Asked] = []
    damaged: dict[str, SbxError] = {}
    with contextlib.ExitStack() as stack:
        for name in records.names(where):
            try:
                asked.append(_ask(where, name, stack, details=False))
            except NotFoundError:
                continue  # removed just now
            except SbxError as error:
                damaged[name] = error
        return Survey(sandboxes=_answers(where, asked), damaged=damaged)


def list_all(where: Paths) -> tuple[SandboxStatus, ...]:
    """The status of every sandbox that can be read, by name."""
    return survey(where).sandboxes


def _answers(where: Paths, asked: Sequence[_Asked]) -> tuple[SandboxStatus, ...]:
    """Collect the answers of those that were asked, until one common deadline."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    for one in asked:
        if one.client is not None:
            left = max(deadline - time.monotonic(), 0.01)
            with contextlib.suppress(SbxError):
                one.live = one.client.receive(timeout_s=left).live
    return tuple(_judge(where, one) for one in asked)


def _ask(where: Paths, name: str, stack: contextlib.ExitStack, *, details: bool) -> _Asked:
    spec = records.read_spec(where, name)
    alive = is_locked(where.sandbox(name) / names.SUPERVISOR_LOCK)
    record = records.read_record(where, name) if alive else reconcile(where, spec)
    asked = _Asked(spec=spec, record=record, alive=alive)
    if alive:
        with contextlib.suppress(SbxError):
            socket_path = where.run_folder(spec.id) / names.CONTROL_SOCKET
            client = stack.enter_context(connect(socket_path, timeout_s=_ANSWER_TIMEOUT_S))
            client.send(Request(verb=Verb.STATUS, details=details))
            asked.client = client
    return asked


def _judge(where: Paths, asked: _Asked) -> SandboxStatus:
    if asked.live is not None:
        state = asked.live.state
    elif asked.alive:  # it holds the lock and does not answer: just begun, nearly over, or wedged
        state = State.STARTING if asked.client is None else State.RUNNING
    else:
        state = State.FAILED if asked.record.failure is not None else State.STOPPED
    disk = where.sandbox(asked.spec.name) / names.DATA_DISK
    return SandboxStatus(
        spec=asked.spec,
        record=asked.record,
        state=state,
        live=asked.live,
        responsive=not asked.alive or asked.live is not None,
        disk_bytes=allocated_bytes(disk) if disk.exists() else 0,
        disk_size_bytes=disk.stat().st_size if disk.exists() else 0,
    )
