# SPDX-License-Identifier: Apache-2.0
"""Remove: stop a sandbox if need be and delete every trace of it."""

from __future__ import annotations

import contextlib
import logging
import shutil

from sbx.errors import ConflictError, NotFoundError, SbxError
from sbx.lifecycle import branch
from sbx.lifecycle.status import status
from sbx.lifecycle.stop import stop
from sbx.secret.store import drop_sandbox
from sbx.store import paths as names
from sbx.store import records
from sbx.store.approvals import forget_questions
from sbx.store.audit import sweep_logs
from sbx.store.paths import Paths
from sbx.store.rule_names import mentions_sandbox
from sbx.system.locks import hold_lock

log = logging.getLogger(__name__)


def remove(where: Paths, name: str, *, force: bool = False, delete_branch: bool = False) -> None:
    """Delete a sandbox, with its disk.

    `force` also removes one with open sessions, and one whose files are damaged. The branch of
    branch mode stays, unless `delete_branch` says otherwise.

    Raises:
        NotFoundError: there is no such sandbox.
        ConflictError: it has open sessions and `force` is false.
    """
    if name not in records.names(where):
        raise NotFoundError(f'sandbox not found: "{name}"', hint="Run: sbx ls")
    try:
        now = status(where, name)
    except SbxError:
        if not force:
            raise
        forget_rules(where, name)
        records.delete_folder(where, name)
        _forget_secrets(where, name)
        return
    if now.live is not None and now.live.sessions and not force:
        raise ConflictError(
            f"sandbox `{name}` has {now.live.sessions} open session(s)",
            hint=f"Close them, or run: sbx rm -f {name}",
        )
    stop(where, name)
    with contextlib.ExitStack() as stack:
        # A start that is under way ends with our stop and then gives this lock back.
        stack.enter_context(hold_lock(where.sandbox(name) / names.VERB_LOCK))
        stop(where, name)
        shutil.rmtree(where.run_folder(now.spec.id), ignore_errors=True)
        branch.remove(now.spec, delete_branch=delete_branch)
        forget_rules(where, name)  # first: killed in between, it leaves less allowed, not more
        records.delete_folder(where, name)
        _forget_secrets(where, name)
    sweep_logs(where)


def forget_rules(where: Paths, name: str) -> None:
    """Remove the policy's rules for a sandbox; a policy that cannot be read is no obstacle.

    It allows nothing as it is, and `create` comes here again before the name is used anew.
    """
    forget_questions(where, name)
    if not mentions_sandbox(where, name):
        return
    from sbx.store.rules import forget_sandbox  # noqa: PLC0415 - large, and `create` comes here too

    try:
        forget_sandbox(where, name)
    except SbxError as error:
        log.warning("rules of sandbox %s stay: %s", name, error.message)


def _forget_secrets(where: Paths, name: str) -> None:
    """A sandbox of the same name that is made later must not get this one's."""
    try:
        drop_sandbox(where, name)
    except SbxError as error:
        log.warning("the secrets of sandbox %s stay: %s", name, error.message)
