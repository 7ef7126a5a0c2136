# SPDX-License-Identifier: Apache-2.0
"""Connecting to one of several addresses: side by side, with a head start for the better one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address
from itertools import chain, zip_longest

from sbx.policy.hosts import Address

Attempt = Callable[[Address], Awaitable[socket.socket]]


class AllFailedError(Exception):
    """No attempt came about; the errors in the order of their coming."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        super().__init__(f"{len(errors)} attempts failed")
        self.errors = errors


async def connect_to(address: Address, port: int) -> socket.socket:
    """A connection to an address; the caller closes it.

    Raises:
        OSError: there is none.
    """
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


async def race(
    addresses: Sequence[Address],
    attempt: Attempt,
    *,
    delay_s: float,
    expected: tuple[type[Exception], ...],
) -> tuple[Address, socket.socket]:
    """The first connection that comes about; each attempt gets a head start on the next.

    Raises:
        AllFailedError: each attempt ended with one of the expected errors.
    """
    waiting = iter(interleaved(addresses))
    running: dict[asyncio.Task[socket.socket], Address] = {}
    errors: list[Exception] = []
    won: tuple[Address, socket.socket] | None = None
    more = True
    try:
        while won is None:
            if more and (address := next(waiting, None)) is not None:
                task = asyncio.ensure_future(attempt(address))
                running[task] = address
            else:
                more = False
            if not running:
                raise AllFailedError(errors)
            done, _ = await asyncio.wait(
                running,
                timeout=delay_s if more else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            won = _winner({task: running.pop(task) for task in done}, expected, errors)
    finally:
        await _abandon(running)
    return won


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """The families take turns, the resolver's first choice first (RFC 8305, 4)."""
    first = [a for a in addresses if a.version == addresses[0].version]
    second = [a for a in addresses if a.version != addresses[0].version]
    turns = chain.from_iterable(zip_longest(first, second))
    return [address for address in turns if address is not None]


def _winner(
    done: dict[asyncio.Task[socket.socket], Address],
    expected: tuple[type[Exception], ...],
    errors: list[Exception],
) -> tuple[Address, socket.socket] | None:
    won: tuple[Address, socket.socket] | None = None
    for task, address in done.items():
        error = task.exception()
        if error is None:
            if won is None:
                won = address, task.result()
            else:
                task.result().close()
        elif isinstance(error, expected):
            errors.append(error)
        else:
            raise error
    return won


async def _abandon(tasks: dict[asyncio.Task[socket.socket], Address]) -> None:
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, socket.socket):  # it came about just before it was cancelled
            found.close()
