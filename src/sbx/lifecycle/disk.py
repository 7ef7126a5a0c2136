# SPDX-License-Identifier: Apache-2.0
"""A sandbox's disk made larger: by its supervisor while it runs, else by changing the file."""

from __future__ import annotations

import os

from sbx.control.client import connect
from sbx.control.messages import Request, Verb
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.locks import hold_lock, try_lock
from sbx.vm.disk import check_growth, grow_disk

_ANSWER_TIMEOUT_S = 120.0  # the guest writes the tables of the new part
_BLOCK_BYTES = 4096


def grow(where: Paths, name: str, size_bytes: int) -> tuple[int, int]:
    """Make the disk of a sandbox so large, rounded up to a block; its size before and after.

    A running sandbox has the room at once, a stopped one at its next start.

    Raises:
        NotFoundError: there is no such sandbox.
        UserError: the disk is larger than that: it is never cut.
        SbxError: host or machine cannot do it.
    """
    spec = records.read_spec(where, name)
    folder = where.sandbox(name)
    wanted = -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
    with hold_lock(folder / names.VERB_LOCK):
        before = check_growth(folder / names.DATA_DISK, wanted)
        lock = try_lock(folder / names.SUPERVISOR_LOCK)
        if lock is None:
            with connect(where.run_folder(spec.id) / names.CONTROL_SOCKET) as client:
                request = Request(verb=Verb.GROW, disk_bytes=wanted)
                client.ask(request, timeout_s=_ANSWER_TIMEOUT_S)
            return before, wanted
        try:
            grow_disk(folder / names.DATA_DISK, wanted)
        finally:
            os.close(lock)
    return before, wanted
