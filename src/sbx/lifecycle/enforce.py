# SPDX-License-Identifier: Apache-2.0
"""A changed policy: wait until every running sandbox has it in force."""

from __future__ import annotations

import contextlib
import time

from sbx.control.client import ControlClient, connect
from sbx.control.messages import Request, Verb
from sbx.errors import SbxError
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.locks import is_locked

_CONNECT_TIMEOUT_S = 2.0
_ANSWER_TIMEOUT_S = 15.0  # for all together; one that is coming up answers when it is up


def enforce_policy(where: Paths) -> dict[str, SbxError]:
    """Return when the stored policy is in force in every running sandbox.

    What is returned names the sandboxes where that could not be learned, and why. They follow the
    stored policy by themselves; those that are stopped read it when they start.
    """
    failed: dict[str, SbxError] = {}
    with contextlib.ExitStack() as stack:
        asked: dict[str, ControlClient] = {}
        for name in records.names(where):
            try:
                if (client := _ask(where, name, stack)) is not None:
                    asked[name] = client
            except SbxError as error:
                failed[name] = error
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        for name, client in asked.items():
            try:
                client.receive(timeout_s=max(deadline - time.monotonic(), 0.01))
            except SbxError as error:
                failed[name] = error
    # One that ended meanwhile has no connections any more.
    return {name: error for name, error in failed.items() if _is_running(where, name)}


def _ask(where: Paths, name: str, stack: contextlib.ExitStack) -> ControlClient | None:
    if not _is_running(where, name):
        return None
    folder = where.run_folder(records.read_spec(where, name).id)
    client = stack.enter_context(
        connect(folder / names.CONTROL_SOCKET, timeout_s=_CONNECT_TIMEOUT_S)
    )
    client.send(Request(verb=Verb.POLICY))
    return client


def _is_running(where: Paths, name: str) -> bool:
    return is_locked(where.sandbox(name) / names.SUPERVISOR_LOCK)
