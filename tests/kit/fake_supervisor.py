# SPDX-License-Identifier: Apache-2.0
"""A supervisor without a machine: holds the lock, answers, or misbehaves in one chosen way.

Run as a program: `fake_supervisor.py FOLDERS NAME BEHAVIOUR`; prints `up` when it stands.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from sbx.control.messages import Reply, Request, Verb
from sbx.control.server import Connection, serve_control
from sbx.errors import PermanentError
from sbx.sandbox.state import State
from sbx.sandbox.status import DiskState, Live
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.files import private_folder
from sbx.system.locks import try_lock

LIVE = Live(
    state=State.RUNNING,
    pid=os.getpid(),
    uptime_s=1.0,
    sessions=0,
    accel=None,
    machine_pid=None,
    share_pid=None,
    helper_pid=None,
)


def paths_below(base: Path) -> Paths:
    """The folders of a test's installation."""
    return Paths(state=base / "s", config=base / "c", cache=base / "k", runtime=base / "r")


async def supervise(where: Paths, name: str, behaviour: str) -> None:
    """Stand until asked to stop, or for ever."""
    spec = records.read_spec(where, name)
    stop = asyncio.Event()

    async def handle(connection: Connection, request: Request) -> None:
        if behaviour == "deaf":
            await asyncio.Event().wait()
        elif behaviour == "unreadable" and request.verb is Verb.POLICY:
            raise PermanentError("cannot read the policy")
        elif request.verb is Verb.GROW:
            (where.sandbox(name) / "asked").write_text(str(request.disk_bytes))
            await connection.reply(Reply())
        elif request.verb is Verb.STOP:
            stop.set()
            await connection.reply(Reply(step="agent"))
        else:
            sessions = 2 if behaviour == "busy" else 0
            state = DiskState.FULL if behaviour == "full" else DiskState.OK
            live = replace(LIVE, sessions=sessions, disk_state=state)
            await connection.reply(Reply(live=live))

    lock = try_lock(where.sandbox(name) / names.SUPERVISOR_LOCK)
    assert lock is not None
    records.update_record(where, name, supervisor_pid=os.getpid())
    folder = private_folder(where.run_folder(spec.id))
    async with serve_control(folder / names.CONTROL_SOCKET, handle):
        print("up", flush=True)  # noqa: T201 - the sign that its tester waits for
        await stop.wait()
    if behaviour != "forgetful":
        records.update_record(where, name, supervisor_pid=None)


if __name__ == "__main__":
    asyncio.run(supervise(paths_below(Path(sys.argv[1])), sys.argv[2], sys.argv[3]))
