# SPDX-License-Identifier: Apache-2.0
"""The supervisor's program: leaves its parent, takes the sandbox's lock, and runs until the end.

Started by `sbx.lifecycle.start` only. It is a program of its own, and not a fork of the command
line, so that it carries none of its memory and none of its terminal.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
from pathlib import Path

from sbx.store.paths import Paths


def main() -> None:
    """Parse the arguments that `lifecycle.start` gives, fork, and supervise in the child."""
    parser = argparse.ArgumentParser(prog="sbx-supervisor")
    parser.add_argument("name")
    parser.add_argument("--report-fd", type=int, required=True)
    parser.add_argument("--slot-fd", type=int, required=True)
    for folder in ("state", "config", "cache", "runtime"):
        parser.add_argument(f"--{folder}", type=Path, required=True)
    args = parser.parse_args()
    os.umask(0o077)
    if os.fork() != 0:
        os._exit(0)  # the starter waits for this process; nobody has to wait for the child
    where = Paths(state=args.state, config=args.config, cache=args.cache, runtime=args.runtime)
    # Imported after the fork, so that the starter is not kept waiting for it.
    from sbx.supervisor.service import supervise  # noqa: PLC0415 - see above

    supervise(where, args.name, report=socket.socket(fileno=args.report_fd), slot=args.slot_fd)
    # A look-up of a name that the host's resolver does not answer holds its thread: do not wait.
    logging.shutdown()
    os._exit(0)


main()
