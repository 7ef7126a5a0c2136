# SPDX-License-Identifier: Apache-2.0
"""A supervisor that is loaded before anybody knows for which sandbox.

Loading its program takes as long as what a command does before a start: checking what was typed,
finding the parts, writing the sandbox's folder. Both happen at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from pathlib import Path

from sbx.store.paths import Paths
from sbx.system.process import NOWHERE, OWN_SOURCE, base_env, popen
from sbx.system.session_bus import keychain_environment

# Of the settings about proxies (docs/settings.md); a supervisor has no other way to learn them.
_PROXY_VARIABLES = ("DOCKER_SANDBOXES_PROXY", "DOCKER_SANDBOXES_NO_PROXY")


class Standby:
    """The process. It ends with this object, or without it, unless it got its orders."""

    def __init__(self, where: Paths, *, log: int = NOWHERE) -> None:
        """Start it; `log` takes what it says before its orders (raises as `popen`)."""
        self._orders, theirs = socket.socketpair()
        args = [sys.executable, "-P", "-m", "sbx.supervisor", "--orders-fd", str(theirs.fileno())]
        for folder in ("state", "config", "cache", "runtime"):
            args += [f"--{folder}", str(getattr(where, folder))]
        with theirs:
            self._process = popen(
                args,
                env={
                    **base_env(),
                    **{name: os.environ[name] for name in _PROXY_VARIABLES if name in os.environ},
                    **keychain_environment(),
                    "PYTHONPATH": str(OWN_SOURCE),
                },
                cwd=Path("/"),
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                new_session=True,
            )

    def order(self, name: str, *, report: int, slot: int, log: int) -> bool:
        """Say, once, which sandbox it supervises; False if it is not there any more.

        It gets copies of the descriptors, and forks: nobody has to reap it, and it outlives us.
        """
        if self._orders.fileno() < 0:
            return False
        with contextlib.suppress(OSError):
            socket.send_fds(self._orders, [json.dumps(name).encode()], [report, slot, log])
        self._orders.close()
        return self._process.wait() == 0

    def close(self) -> None:
        """End it if it got no orders."""
        self._orders.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
