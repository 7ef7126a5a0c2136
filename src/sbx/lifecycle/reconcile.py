# SPDX-License-Identifier: Apache-2.0
"""Repair after a crash: what a killed supervisor left is found from the record and undone.

A supervisor's children die with it (PR_SET_PDEATHSIG through the jail, and the network helper by
end of file), and its namespaces with them, so what can be left is a run folder and a stale record.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime

from sbx.errors import HostError
from sbx.sandbox.record import Failure, SandboxRecord
from sbx.sandbox.spec import SandboxSpec
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.cgroup import Cgroup
from sbx.system.files import owned_fd
from sbx.system.leftovers import end_jails
from sbx.system.locks import try_lock

log = logging.getLogger(__name__)


def reconcile(where: Paths, spec: SandboxSpec) -> SandboxRecord:
    """Bring record and host of a sandbox without a living supervisor in line; return the record."""
    record = records.read_record(where, spec.name)
    run_folder = where.run_folder(spec.id)
    if record.supervisor_pid is None and not run_folder.exists():
        return record
    lock = try_lock(where.sandbox(spec.name) / names.SUPERVISOR_LOCK)
    if lock is None:  # one has just come up: nothing to repair
        return record
    with owned_fd(lock):
        record = records.read_record(where, spec.name)
        shutil.rmtree(run_folder, ignore_errors=True)
        if record.supervisor_pid is None:
            return record
        end_jails(where.sandbox(spec.name))
        if record.cgroup is not None:
            with contextlib.suppress(HostError):
                Cgroup(record.cgroup).remove()
        log.warning("supervisor %d of %s died without a word", record.supervisor_pid, spec.name)
        record = replace(
            record,
            supervisor_pid=None,
            cgroup=None,
            stopped_at=datetime.now(UTC),
            failure=Failure(
                message="the supervisor was killed, and the machine with it",
                hint=f"The data disk is kept; start it again with: sbx run --name {spec.name}",
                details=None,
                at=datetime.now(UTC),
            ),
        )
        records.write_record(where, spec.name, record)
    return record
