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
import logging
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from sbx.errors import HostError, PermanentError, SbxError, TransientError
from sbx.network.ruleset import MANAGEMENT_LINK, SANDBOX_LINK, Link, render_ruleset
from sbx.sandbox import addresses
from sbx.system.fds import close_all, recv_fds_async, socket_pair
from sbx.system.process import describe_status, spawn
from sbx.system.userns import explain_nft, explain_tun, explain_user_namespaces

log = logging.getLogger(__name__)

_HELPER = Path(__file__).with_name("helper.py")
_LINKS = (SANDBOX_LINK, MANAGEMENT_LINK)
_ANSWER_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0
_CONNECT_TIMEOUT_S = 10.0
_POOL = 16  # sockets per request: one round trip to the helper for so many sessions
_STDERR_BYTES = 4096


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

    def __init__(self, helper: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._helper = helper
        self._control = control
        self._asking = asyncio.Lock()
        self._pool: deque[socket.socket] = deque()
        self._taps: list[int] = []
        self._listeners: Listeners | None = None

    @property
    def helper_pid(self) -> int:
        return self._helper.pid

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
        return await self._helper.wait()

    async def connect_agent(self, *, timeout_s: float = _CONNECT_TIMEOUT_S) -> socket.socket:
        """A non-blocking socket connected to the guest agent; it is the caller's.

        Raises:
            TransientError: the guest agent did not take the connection in time.
        """
        sock = await self.take_socket()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(
                    sock, (addresses.MANAGEMENT, addresses.AGENT_PORT)
                )
        except TimeoutError as error:
            sock.close()
            raise TransientError(
                f"guest agent took no connection within {timeout_s:g} s",
                hint="Stop the sandbox and start it again: sbx stop NAME && sbx run --name NAME",
            ) from error
        except OSError as error:
            sock.close()
            raise TransientError(f"guest agent refused a connection: {error.strerror}") from error
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
        await self._expect(b"made")
        await self._nft(["-f", "-"], render_ruleset(links).encode())
        fds = await self._ask(b"up", b"taps")
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
        self._control.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await self._helper.wait()
        except TimeoutError:
            log.warning("network helper %s did not end, killing it", self._helper.pid)
            self._helper.kill()
            await self._helper.wait()

    async def take_socket(self) -> socket.socket:
        """An unconnected, non-blocking TCP socket of the namespace; the caller's."""
        while not self._pool:
            self._pool.extend(await self._fresh_sockets())
        return self._pool.popleft()

    async def _fresh_sockets(self) -> list[socket.socket]:
        fds = await self._ask(b"sockets %d" % _POOL, b"sockets")
        return [socket.socket(fileno=fd) for fd in fds]  # non-blocking as the helper made them

    async def _ask(self, request: bytes, answer: bytes) -> list[int]:
        async with self._asking:
            with contextlib.suppress(
                BrokenPipeError, ConnectionResetError
            ):  # the answer tells more
                await asyncio.get_running_loop().sock_sendall(self._control, request)
            return await self._expect(answer)

    async def _expect(self, word: bytes) -> list[int]:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                data, fds = await recv_fds_async(self._control, max_bytes=512)
        except TimeoutError as error:
            raise TransientError("network helper does not answer") from error
        except OSError as error:
            raise TransientError(f"network helper is gone: {error.strerror}") from error
        if data == word:
            return fds
        close_all(fds)
        if data.startswith(b"error "):
            raise helper_error(data[6:].decode(errors="replace"))
        raise TransientError(f"network helper is gone: {await self._last_words()}")

    async def _last_words(self) -> str:
        self._control.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                status = describe_status(await self._helper.wait())
                stderr = (
                    b""
                    if self._helper.stderr is None
                    else await self._helper.stderr.read(_STDERR_BYTES)
                )
        except TimeoutError:
            return "it closed its socket"
        lines = stderr.decode(errors="replace").strip().splitlines()
        return f"{status}, {lines[-1]}" if lines else status

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
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
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
    ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
    with contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        with theirs:
            helper = await spawn(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    _HELPER,
                    str(theirs.fileno()),
                    *map(describe, _LINKS),
                    "--",
                    *(listener for link in _LINKS for listener in describe_listeners(link)),
                ],
                env={"LANG": "C.UTF-8"},
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        ours.setblocking(False)  # noqa: FBT003 - its own signature
        network = Network(helper, ours)
        undo.pop_all()
    try:
        await network.set_up(_LINKS)
        yield network
    finally:
        await asyncio.shield(network.close())


def describe(link: Link) -> str:
    """A link as the helper's command line takes it."""
    return ",".join(
        (
            link.device,
            link.gateway,
            str(addresses.PREFIX_LENGTH),
            link.gateway_mac,
            link.guest,
            link.guest_mac,
        )
    )


def describe_listeners(link: Link) -> list[str]:
    """The sockets of a link's ways out, as the helper's command line takes them."""
    return [f"{one.protocol},{link.gateway},{one.port}" for one in link.listeners]


def _listeners(fds: Sequence[int]) -> Listeners:
    """What the helper made, in the order of `SANDBOX_LINK.listeners`."""
    socks = [socket.socket(fileno=fd) for fd in fds]
    if len(socks) != len(SANDBOX_LINK.listeners):
        for sock in socks:
            sock.close()
        raise PermanentError(f"network helper handed over {len(socks)} listeners")
    dns_udp, dns_tcp, explicit, transparent = socks
    return Listeners(dns_udp=dns_udp, dns_tcp=dns_tcp, explicit=explicit, transparent=transparent)


def helper_error(text: str) -> SbxError:
    """The sentence for `STEP|ERRNO|TEXT` from the helper."""
    step, number, reason = (*text.split("|", 2), "", "")[:3]
    if step in ("unshare", "user-map"):
        verdict = explain_user_namespaces()
        return HostError(verdict.message, hint=verdict.hint, details=f"{step}: {reason}")
    if step == "tun-open" and number.isdigit():
        verdict = explain_tun(int(number))
        return HostError(verdict.message, hint=verdict.hint)
    hint = (
        "In a container: start it with --privileged, or use the host"
        if step == "ip-forward"
        else None
    )
    return HostError(f"cannot prepare the sandbox's network: {step}: {reason or text}", hint=hint)
