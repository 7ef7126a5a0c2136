# SPDX-License-Identifier: Apache-2.0
"""What a killed supervisor left behind of its jails.

bubblewrap's inner process waits for the outer one before it asks to die with it; if the supervisor,
and so the outer one, is killed in between, it waits for ever. It is found by its environment, which
it still has then (proc_pid_environ(5)).
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from sbx.errors import TransientError
from sbx.system.pidfd import ProcessHandle

_VARIABLE = "SBX_JAIL_OF"


def jail_mark(folder: Path) -> dict[str, str]:
    """The variable that says which sandbox's folder a jail is for."""
    return {_VARIABLE: str(folder)}


def end_jails(folder: Path) -> None:
    """KILL what is left of a sandbox's jails; only when its supervisor is known to be dead."""
    mark = f"{_VARIABLE}={folder}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError, TransientError):
            if _has(entry, mark):
                with contextlib.closing(ProcessHandle(int(entry.name))) as process:
                    if _has(entry, mark):  # still the one that was looked at
                        process.signal(signal.SIGKILL)
                        process.wait(5.0)


def _has(entry: Path, mark: bytes) -> bool:
    return mark in (entry / "environ").read_bytes().split(b"\0")
