# SPDX-License-Identifier: Apache-2.0
"""Connections to servers: resolve, ask the policy about every address, dial the checked ones.

Names are resolved here and not by the guest, and dialled as resolved: the address that was checked
is the address that is connected to. Several addresses are tried side by side (RFC 8305).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, zip_longest

from sbx.policy.hosts import LOCALHOST, Address, BadHostError, Endpoint, parse_address
from sbx.policy.rules import Decision
from sbx.proxy.connections import PolicySource
from sbx.proxy.limits import Limits

GetAddrInfo = Callable[[str], Awaitable[Sequence[str]]]
_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class BlockedError(Exception):
    """The policy does not allow the connection."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class UnreachableError(Exception):
    """The policy allows it, but there is no connection; `status` is for an HTTP client."""

    def __init__(self, why: str, status: int = 502) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """A connection to a server; the receiver closes the socket."""

    sock: socket.socket
    address: Address
    decision: Decision


class Upstream:
    """Makes connections that the policy allows."""

    def __init__(self, policy: PolicySource, resolve: GetAddrInfo, limits: Limits) -> None:
        self._policy = policy
        self._resolve = resolve
        self._limits = limits
        self._lookups = asyncio.Semaphore(limits.max_lookups)

    async def connect(self, to: Endpoint) -> Dialled:
        """A connection to an endpoint.

        Raises:
            BlockedError: the policy does not allow it, or none of its addresses.
            UnreachableError: it cannot be made.
        """
        decision = self._policy().connection(to)
        if not decision.allowed:
            raise BlockedError(decision)
        allowed: list[Address] = []
        for address in await self._addresses(to):
            verdict = self._policy().dial(to, address)
            if verdict.allowed:
                allowed.append(address)
            elif decision.allowed:
                decision = verdict  # the first refusal is the one to tell
        if not allowed:
            raise BlockedError(decision)
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                return await self._race(to, _interleaved(allowed))
        except TimeoutError as error:
            raise UnreachableError(f"{to} does not answer", 504) from error

    async def _addresses(self, to: Endpoint) -> list[Address]:
        if not isinstance(to.host, str):
            return [to.host]
        if to.host == LOCALHOST:
            return list(_LOOPBACK)
        try:
            async with asyncio.timeout(self._limits.resolve_timeout_s), self._lookups:
                texts = await self._resolve(to.host)
        except TimeoutError as error:
            raise UnreachableError(f"the name {to.host} cannot be resolved in time", 504) from error
        except OSError as error:
            raise UnreachableError(f"the name {to.host} cannot be resolved") from error
        found = list(dict.fromkeys(a for text in texts if (a := _address(text)) is not None))
        if not found:
            raise UnreachableError(f"the name {to.host} has no address")
        return found[: self._limits.max_addresses]

    async def _race(self, to: Endpoint, addresses: list[Address]) -> Dialled:
        """The first connection that comes about; each attempt gets a head start on the next."""
        waiting = iter(addresses)
        running: set[asyncio.Task[Dialled]] = set()
        errors: list[Exception] = []
        won: Dialled | None = None
        more = True
        try:
            while won is None:
                if more and (address := next(waiting, None)) is not None:
                    name = f"dial {to} at {address}"
                    attempt = asyncio.get_running_loop().create_task(
                        self._attempt(to, address), name=name
                    )
                    running.add(attempt)
                else:
                    more = False
                if not running:
                    raise _failure(to, errors)
                done, running = await asyncio.wait(
                    running,
                    timeout=self._limits.attempt_delay_s if more else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                won = _winner(done, errors)
        finally:
            await _abandon(running)
        return won

    async def _attempt(self, to: Endpoint, address: Address) -> Dialled:
        decision = self._policy().dial(to, address)  # it may have changed since the look-up
        if not decision.allowed:
            raise BlockedError(decision)
        family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (str(address), to.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return Dialled(sock=sock, address=address, decision=decision)


def _winner(done: set[asyncio.Task[Dialled]], errors: list[Exception]) -> Dialled | None:
    won: Dialled | None = None
    for task in done:
        error = task.exception()
        if error is None:
            if won is None:
                won = task.result()
            else:
                task.result().sock.close()
        elif isinstance(error, OSError | BlockedError):
            errors.append(error)
        else:
            raise error
    return won


async def _abandon(tasks: set[asyncio.Task[Dialled]]) -> None:
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, Dialled):  # it came about just before it was cancelled
            found.sock.close()


def _failure(to: Endpoint, errors: list[Exception]) -> Exception:
    for error in errors:
        if isinstance(error, BlockedError):
            return error
    last = errors[-1] if errors else None
    why = os.strerror(last.errno) if isinstance(last, OSError) and last.errno else str(last)
    return UnreachableError(f"{to} cannot be reached: {why}")


def _interleaved(addresses: list[Address]) -> list[Address]:
    """The families take turns, the resolver's first choice first (RFC 8305, 4)."""
    first = [a for a in addresses if a.version == addresses[0].version]
    second = [a for a in addresses if a.version != addresses[0].version]
    turns = chain.from_iterable(zip_longest(first, second))
    return [address for address in turns if address is not None]


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except BadHostError:
        return None  # such as a link-local address with a zone
