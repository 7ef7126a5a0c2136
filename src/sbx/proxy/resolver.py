# SPDX-License-Identifier: Apache-2.0
"""Names to addresses by the host's own resolver, on threads of its own.

Names are absolute: no search domain of the host is tried behind them. getaddrinfo does not find a
name with a final dot in the hosts file, so that is read here first.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

HOSTS_FILE = Path("/etc/hosts")


class HostResolver:
    """The host's resolver; `close` it at the end."""

    def __init__(self, max_lookups: int, hosts_file: Path = HOSTS_FILE) -> None:
        self._threads = ThreadPoolExecutor(max_lookups, thread_name_prefix="resolve")
        self._hosts_file = hosts_file

    async def __call__(self, name: str) -> Sequence[str]:
        """The addresses of a name, the best one first.

        Raises:
            OSError: there are none.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, name, self._hosts_file)

    def close(self) -> None:
        """Give up what is still being looked up; a thread in it ends when the resolver does."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(name: str, hosts_file: Path) -> list[str]:
    if listed := list(_listed(name, hosts_file)):
        return listed
    found = socket.getaddrinfo(f"{name}.".encode(), None, type=socket.SOCK_STREAM)
    return [cast("str", address[0]) for *_, address in found]


def _listed(name: str, hosts_file: Path) -> Iterator[str]:
    try:
        text = hosts_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name in (known.lower() for known in names):
            yield address
