# SPDX-License-Identifier: Apache-2.0
"""The supervisor's program: waits for its orders, leaves its parent, and runs until the end.

Started by `sbx.lifecycle.standby` only. It is a program of its own, and not a fork of the command
line, so that it carries none of its memory and none of its terminal.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
from pathlib import Path
from typing import cast

from sbx.store.paths import Paths
from sbx.supervisor.service import supervise

_MAX_NAME_BYTES = 4096


def main() -> None:
    """Parse the arguments that a `Standby` gives, wait for its orders, fork, and supervise."""
    parser = argparse.ArgumentParser(prog="sbx-supervisor")
    parser.add_argument("--orders-fd", type=int, required=True)
    for folder in ("state", "config", "cache", "runtime"):
        parser.add_argument(f"--{folder}", type=Path, required=True)
    args = parser.parse_args()
    os.umask(0o077)
    with socket.socket(fileno=args.orders_fd) as orders:
        data, fds, _flags, _address = socket.recv_fds(orders, _MAX_NAME_BYTES, 3)
    if len(fds) != 3:  # whoever started us changed its mind
        os._exit(1)
    if os.fork() != 0:
        os._exit(0)  # the starter waits for this process; nobody has to wait for the child
    report, slot, log = fds
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    where = Paths(state=args.state, config=args.config, cache=args.cache, runtime=args.runtime)
    supervise(where, cast("str", json.loads(data)), report=socket.socket(fileno=report), slot=slot)
    # A look-up of a name that the host's resolver does not answer holds its thread: do not wait.
    logging.shutdown()
    os._exit(0)


main()
