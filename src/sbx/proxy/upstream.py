# SPDX-License-Identifier: Apache-2.0
"""Connections to servers: resolve, ask the policy about every address, dial the checked ones.

Names are resolved here and not by the guest, and dialled as resolved: the address that was checked
is the address that is connected to. Several addresses are tried side by side (RFC 8305). Behind a
proxy of the user's network, which resolves names itself, the policy decides by name alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from sbx.policy.hosts import LOCALHOST, Address, BadHostError, Endpoint, Host, parse_address
from sbx.policy.pac import PacFile
from sbx.policy.routes import STRAIGHT, ProxyServer, Routes, Scheme
from sbx.policy.rules import Decision
from sbx.proxy.connections import PolicySource
from sbx.proxy.limits import Limits
from sbx.proxy.pac import PacError, PacResolver
from sbx.proxy.race import AllFailedError, connect_to, race
from sbx.proxy.tls_bridge import inside_tls
from sbx.proxy.tunnels import TunnelError, open_tunnel

log = logging.getLogger(__name__)

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
    address: Address | None  # None: a proxy knows it
    decision: Decision


class Upstream:
    """Makes connections that the policy allows."""

    def __init__(
        self, policy: PolicySource, resolve: GetAddrInfo, limits: Limits, routes: Routes = STRAIGHT
    ) -> None:
        self._pac = PacResolver()
        self._policy = policy
        self._resolve = resolve
        self._limits = limits
        self._routes = routes
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
        ways = await self._ways(to)
        for way in ways[:-1]:
            try:
                return await self._by(way, to, decision)
            except UnreachableError as error:  # the next one is there for that
                log.info("%s", error.why)
        return await self._by(ways[-1], to, decision)

    async def close(self) -> None:
        """End what was started to find ways."""
        await self._pac.close()

    async def _ways(self, to: Endpoint) -> Sequence[ProxyServer | None]:
        way = self._routes.choose(to)
        if not isinstance(way, PacFile):
            return (way,)
        try:
            return await self._pac.ways(way, to)
        except PacError as error:
            raise UnreachableError(str(error)) from error

    async def _by(self, proxy: ProxyServer | None, to: Endpoint, decision: Decision) -> Dialled:
        """A connection by a proxy, or without one."""
        try:
            if proxy is None or (proxy.scheme is Scheme.SOCKS5 and isinstance(to.host, str)):
                allowed = await self._allowed_addresses(to, decision)
            else:
                allowed = []
            async with asyncio.timeout(self._limits.connect_timeout_s):
                if proxy is None:
                    return await self._directly(to, allowed)
                return await self._through(proxy, to, allowed[0] if allowed else None)
        except TimeoutError as error:
            way = "" if proxy is None else f" by the proxy {proxy}"
            raise UnreachableError(f"{to} does not answer{way}", 504) from error

    async def _allowed_addresses(self, to: Endpoint, decision: Decision) -> list[Address]:
        allowed: list[Address] = []
        for address in await self._addresses(to.host):
            verdict = self._policy().dial(to, address)
            if verdict.allowed:
                allowed.append(address)
            elif decision.allowed:
                decision = verdict  # the first refusal is the one to tell
        if not allowed:
            raise BlockedError(decision)
        return allowed

    async def _addresses(self, host: Host) -> list[Address]:
        if not isinstance(host, str):
            return [host]
        if host == LOCALHOST:
            return list(_LOOPBACK)
        try:
            async with asyncio.timeout(self._limits.resolve_timeout_s), self._lookups:
                texts = await self._resolve(host)
        except TimeoutError as error:
            raise UnreachableError(f"the name {host} cannot be resolved in time", 504) from error
        except OSError as error:
            raise UnreachableError(f"the name {host} cannot be resolved") from error
        found = list(dict.fromkeys(a for text in texts if (a := _address(text)) is not None))
        if not found:
            raise UnreachableError(f"the name {host} has no address")
        return found[: self._limits.max_addresses]

    async def _directly(self, to: Endpoint, addresses: Sequence[Address]) -> Dialled:
        async def attempt(address: Address) -> socket.socket:
            self._check(to, address)  # the policy may have changed since the look-up
            return await connect_to(address, to.port)

        try:
            address, sock = await self._race(addresses, attempt)
        except AllFailedError as failed:
            raise _failure(f"{to} cannot be reached", failed.errors) from failed
        return self._dialled(to, address, sock)

    async def _through(self, proxy: ProxyServer, to: Endpoint, checked: Address | None) -> Dialled:
        """A connection made by a proxy: to an address that was checked, or to the name."""
        sock = await self._to_proxy(proxy)
        try:
            if proxy.scheme is Scheme.HTTPS:
                context = ssl.create_default_context()
                sock = await inside_tls(sock, str(proxy.host), context, self._limits)
            target = to if checked is None else replace(to, host=checked)
            await open_tunnel(sock, proxy, target)
        except (TunnelError, OSError) as error:
            sock.close()
            why = str(error) if isinstance(error, TunnelError) else _text(error)
            raise UnreachableError(f"{to} cannot be reached by the proxy {proxy}: {why}") from error
        except BaseException:
            sock.close()
            raise
        if not isinstance(to.host, str):
            checked = to.host
        return self._dialled(to, checked, sock)

    async def _to_proxy(self, proxy: ProxyServer) -> socket.socket:
        """The policy has no say in this: the user has set the proxy, and no guest can name it."""
        try:
            addresses = await self._addresses(proxy.host)
            _, sock = await self._race(addresses, lambda address: connect_to(address, proxy.port))
        except UnreachableError as error:
            raise UnreachableError(f"the proxy {proxy}: {error.why}", error.status) from error
        except AllFailedError as failed:
            raise _failure(f"the proxy {proxy} cannot be reached", failed.errors) from failed
        return sock

    async def _race(
        self, addresses: Sequence[Address], attempt: Callable[[Address], Awaitable[socket.socket]]
    ) -> tuple[Address, socket.socket]:
        return await race(
            addresses,
            attempt,
            delay_s=self._limits.attempt_delay_s,
            expected=(OSError, BlockedError),
        )

    def _check(self, to: Endpoint, address: Address | None) -> Decision:
        policy = self._policy()
        decision = policy.connection(to) if address is None else policy.dial(to, address)
        if not decision.allowed:
            raise BlockedError(decision)
        return decision

    def _dialled(self, to: Endpoint, address: Address | None, sock: socket.socket) -> Dialled:
        try:
            return Dialled(sock=sock, address=address, decision=self._check(to, address))
        except BlockedError:
            sock.close()
            raise


def _failure(what: str, errors: Sequence[Exception]) -> Exception:
    for error in errors:
        if isinstance(error, BlockedError):
            return error
    return UnreachableError(f"{what}: {_text(errors[-1])}")


def _text(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError) or not error.errno:
        return str(error)
    return os.strerror(error.errno)


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except BadHostError:
        return None  # such as a link-local address with a zone
