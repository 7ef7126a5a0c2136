# SPDX-License-Identifier: Apache-2.0
"""The agent's start: protect the process, open the control channel, serve."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys

from .agent import Agent
from .cgroups import mount_cgroups
from .clock import quiet_boot_timer
from .control import ControlChannel, open_port
from .loop import Loop
from .syscalls import lock_memory

_OPEN_FILES = 65536


def main() -> None:
    """Serve until the machine is switched off."""
    _protect()
    mount_cgroups()
    quiet_boot_timer()
    loop = Loop(log_to_console)
    agent = Agent(loop)

    def log(text: str) -> None:
        log_to_console(text)
        agent.log(text)

    loop.set_log(log)
    agent.attach(ControlChannel(loop, open_port(), agent.handlers))
    gc.collect()
    gc.freeze()  # sessions are forked: pages that the collector does not touch stay shared
    loop.run()


def log_to_console(text: str) -> None:
    """The console is the log of last resort: the host keeps its end."""
    sys.stderr.write(f"sbx agent: {text.rstrip()}\n")
    sys.stderr.flush()


def _protect() -> None:
    """The agent must outlive whatever the sandbox does: memory shortage, a fork bomb, hang-ups."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    lock_memory()
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, max(_OPEN_FILES, 524288)))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    os.chdir("/")
