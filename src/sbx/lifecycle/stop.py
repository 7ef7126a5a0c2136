# SPDX-License-Identifier: Apache-2.0
"""Stop: ask the supervisor to bring the machine down in order, and wait until it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from enum import StrEnum

from sbx.control.client import connect
from sbx.control.messages import Request, Verb
from sbx.errors import OutcomeUnknownError, TransientError
from sbx.lifecycle.reconcile import reconcile
from sbx.sandbox.spec import SandboxSpec
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.locks import hold_lock, is_locked

_STOP_TIMEOUT_S = 90.0  # longer than all steps of the stop ladder together


class StopResult(StrEnum):
    """How a stop went."""

    STOPPED = "stopped"
    ALREADY = "already stopped"
    KILLED = "killed"  # the supervisor itself did not answer; the disk's journal repairs the rest


def stop(where: Paths, name: str) -> StopResult:
    """Bring a sandbox down; its disk and definition stay.

    Raises:
        NotFoundError: there is no such sandbox.
    """
    spec = records.read_spec(where, name)
    lock = where.sandbox(name) / names.SUPERVISOR_LOCK
    if not is_locked(lock):
        reconcile(where, spec)
        return StopResult.ALREADY
    result = _ask(where, spec)
    with hold_lock(lock):  # granted when the supervisor is really gone
        pass
    reconcile(where, spec)
    return result


def _ask(where: Paths, spec: SandboxSpec) -> StopResult:
    try:
        with connect(where.run_folder(spec.id) / names.CONTROL_SOCKET) as client:
            client.ask(Request(verb=Verb.STOP), timeout_s=_STOP_TIMEOUT_S)
    except (TransientError, OutcomeUnknownError):
        return _kill(where, spec.name)
    return StopResult.STOPPED


def _kill(where: Paths, name: str) -> StopResult:
    """End a supervisor that does not answer; what it started dies with it."""
    pid = records.read_record(where, name).supervisor_pid
    if pid is None or not is_locked(where.sandbox(name) / names.SUPERVISOR_LOCK):
        return StopResult.STOPPED
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            # The lock is still held after the descriptor was taken: the pid is nobody else's.
            if is_locked(where.sandbox(name) / names.SUPERVISOR_LOCK):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
    return StopResult.KILLED
