# SPDX-License-Identifier: Apache-2.0
"""The network of one sandbox: starts the helper, loads the rules, hands out TAPs and sockets.

The order is the promise (docs/network.md): namespace, TAPs, rules, and only then the descriptors
that a machine could use, and those that somebody serves it on. Whatever fails on the way leaves no
network at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from sbx.errors import HostError, PermanentError, TransientError
from sbx.network.ruleset import (
    MANAGEMENT_LINK,
    SANDBOX_LINK,
    Link,
    render_guest_ports,
    render_ruleset,
)
from sbx.network.talk import Talk, start_helper
from sbx.sandbox import addresses
from sbx.system.fds import close_all
from sbx.system.process import spawn
from sbx.system.userns import explain_nft

_LINKS = (SANDBOX_LINK, MANAGEMENT_LINK)
_NFT_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 10.0
_POOL = 16  # sockets per request: one round trip to the helper for so many sessions


class _Counter(TypedDict, total=False):
    name: str
    packets: int


class _Item(TypedDict, total=False):
    counter: _Counter


class _Listing(TypedDict):
    nftables: list[_Item]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The sockets on which the guest finds its ways out, non-blocking; closed with the network."""

    dns_udp: socket.socket
    dns_tcp: socket.socket
    explicit: socket.socket
    transparent: socket.socket

    def close(self) -> None:
        for sock in (self.dns_udp, self.dns_tcp, self.explicit, self.transparent):
            sock.close()


class Network:
    """A sandbox's namespace, TAPs and rules, as long as `open_network` lasts."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._pool: deque[socket.socket] = deque()
        self._taps: list[int] = []
        self._listeners: Listeners | None = None

    @property
    def helper_pid(self) -> int:
        return self._talk.pid

    @property
    def sandbox_tap(self) -> int:
        """The descriptor of the sandbox link's TAP; ours until `close_taps`."""
        return self._taps[0]

    @property
    def management_tap(self) -> int:
        """The descriptor of the management link's TAP; ours until `close_taps`."""
        return self._taps[1]

    @property
    def listeners(self) -> Listeners:
        """The ways out, to be served."""
        if self._listeners is None:
            raise AssertionError("the network is not set up")
        return self._listeners

    def close_taps(self) -> None:
        """Close our copies, once the machine has its own: the links then end with the machine."""
        close_all(self._taps)
        self._taps.clear()

    async def wait(self) -> int:
        """Wait for the helper's end, which is an accident unless we are closing."""
        return await self._talk.wait()

    async def connect_agent(self, *, timeout_s: float = _CONNECT_TIMEOUT_S) -> socket.socket:
        """A non-blocking socket connected to the guest agent; it is the caller's.

        Raises:
            TransientError: the guest agent did not take the connection in time.
        """
        try:
            return await self._connect(addresses.MANAGEMENT, addresses.AGENT_PORT, timeout_s)
        except TimeoutError as error:
            raise TransientError(
                f"guest agent took no connection within {timeout_s:g} s",
                hint="Stop the sandbox and start it again: sbx stop NAME && sbx run --name NAME",
            ) from error
        except OSError as error:
            raise TransientError(f"guest agent refused a connection: {error.strerror}") from error

    async def connect_sandbox(self, port: int) -> socket.socket:
        """A non-blocking socket connected to a port of the sandbox, see `open_guest_ports`.

        Raises:
            OSError: it is not taken; TimeoutError among them.
        """
        return await self._connect(addresses.SANDBOX, port, _CONNECT_TIMEOUT_S)

    async def datagrams_to_sandbox(self, port: int) -> socket.socket:
        """A non-blocking UDP socket connected to a port of the sandbox; it is the caller's.

        Raises:
            TransientError: the helper died.
        """
        (fd,) = await self._talk.ask(b"datagrams 1", b"datagrams")
        sock = socket.socket(fileno=fd)
        sock.connect((addresses.SANDBOX, port))
        return sock

    async def open_guest_ports(self, *, tcp: Iterable[int], udp: Iterable[int]) -> None:
        """Let the host call just these ports of the sandbox, in one transaction.

        Raises:
            HostError: the rules cannot be changed.
        """
        text = render_guest_ports(SANDBOX_LINK, tcp=tcp, udp=udp)
        await self._nft(["-f", "-"], text.encode())

    async def _connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        sock = await self.take_socket()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def counters(self) -> dict[str, int]:
        """Packets dropped so far, by `<device>_<kind>` and by hook of the host's stack."""
        listing: _Listing = json.loads(await self._nft(["-j", "list", "counters"], b""))
        found = (item["counter"] for item in listing["nftables"] if "counter" in item)
        return {one["name"]: one["packets"] for one in found if "name" in one and "packets" in one}

    async def set_up(self, links: Sequence[Link]) -> None:
        """Rules first, then links and descriptors."""
        await self._talk.expect(b"made")
        await self._nft(["-f", "-"], render_ruleset(links).encode())
        fds = await self._talk.ask(b"up", b"taps")
        self._taps = fds[: len(links)]
        self._listeners = _listeners(fds[len(links) :])
        self._pool.extend(await self._fresh_sockets())

    async def close(self) -> None:
        """End the helper and close what is ours; bounded."""
        self.close_taps()
        if self._listeners is not None:
            self._listeners.close()
        while self._pool:
            self._pool.pop().close()
        await self._talk.close()

    async def take_socket(self) -> socket.socket:
        """An unconnected, non-blocking TCP socket of the namespace; the caller's."""
        while not self._pool:
            self._pool.extend(await self._fresh_sockets())
        return self._pool.popleft()

    async def _fresh_sockets(self) -> list[socket.socket]:
        fds = await self._talk.ask(b"sockets %d" % _POOL, b"sockets")
        return [socket.socket(fileno=fd) for fd in fds]  # non-blocking as the helper made them

    async def _nft(self, args: Sequence[str], rules: bytes) -> bytes:
        """Run nft in the namespaces of the helper, whose pid is ours until we have awaited it."""
        child = await spawn(
            [
                "nsenter", "--target", str(self.helper_pid),
                "--user", "--net", "--preserve-credentials",
                "nft", *args,
            ],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_NFT_TIMEOUT_S):
                out, err = await child.communicate(rules)
        except BaseException as error:
            child.kill()
            await child.wait()
            if isinstance(error, TimeoutError):
                raise TransientError("`nft` does not answer") from error
            raise
        if child.returncode != 0:
            words = err.decode(errors="replace")
            verdict = explain_nft(words)
            raise HostError(verdict.message, hint=verdict.hint, details=words.strip() or None)
        return out


@contextlib.asynccontextmanager
async def open_network() -> AsyncGenerator[Network]:
    """Make a sandbox's namespace with both links and the rules in force.

    Raises:
        HostError: the host forbids namespaces, TAPs or rules; the hint says how to change that.
        TransientError: the helper died.
    """
    network = Network(await start_helper(_LINKS))
    try:
        await network.set_up(_LINKS)
        yield network
    finally:
        await asyncio.shield(network.close())


def _listeners(fds: Sequence[int]) -> Listeners:
    """What the helper made, in the order of `SANDBOX_LINK.listeners`."""
    socks = [socket.socket(fileno=fd) for fd in fds]
    if len(socks) != len(SANDBOX_LINK.listeners):
        for sock in socks:
            sock.close()
        raise PermanentError(f"network helper handed over {len(socks)} listeners")
    dns_udp, dns_tcp, explicit, transparent = socks
    return Listeners(dns_udp=dns_udp, dns_tcp=dns_tcp, explicit=explicit, transparent=transparent)
