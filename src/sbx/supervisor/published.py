# SPDX-License-Identifier: Apache-2.0
"""Published ports: the host listens, and leads what comes to the sandbox.

Bound before the machine starts, so that a port that somebody else has fails the start at once, and
served when it is up. The host calls the sandbox; the sandbox can open nothing by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field

from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.network.link import Network
from sbx.proxy.accept import Acceptor
from sbx.proxy.client import Client, Meter, relay
from sbx.proxy.connections import reset_on_close
from sbx.proxy.limits import Limits
from sbx.sandbox.ports import PortBinding, PortSelector, Publication
from sbx.supervisor.alive import cancel
from sbx.supervisor.port_sockets import BoundPort, bind_publication
from sbx.supervisor.udp_forward import UdpForward

MAX_PUBLICATIONS = 64
_CONNECTIONS = 128  # on each port; further ones wait in the kernel's queue
# Nobody knows how long a client of the user's own may be silent; the number of them is bounded.
_LIMITS = Limits(idle_timeout_s=86400.0, half_closed_timeout_s=3600.0)


@dataclass(slots=True, kw_only=True, eq=False)
class _Open:
    """A publication and what serves it."""

    publication: Publication
    ports: list[BoundPort]
    acceptors: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    forwards: list[UdpForward] = field(default_factory=list[UdpForward])

    @property
    def bindings(self) -> tuple[PortBinding, ...]:
        return tuple(port.binding for port in self.ports)

    async def close(self) -> None:
        await cancel(*self.acceptors)
        for forward in self.forwards:
            forward.close()
        for port in self.ports:
            port.sock.close()


class PublishedPorts:
    """The published ports of one sandbox, as long as `open_ports` lasts."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._open: list[_Open] = []
        self._changing = asyncio.Lock()
        self._is_served = False

    @property
    def publications(self) -> tuple[Publication, ...]:
        """What is published, as it was asked for."""
        return tuple(one.publication for one in self._open)

    @property
    def bindings(self) -> tuple[PortBinding, ...]:
        """Where it can be reached now."""
        return tuple(binding for one in self._open for binding in one.bindings)

    async def publish(self, wanted: Sequence[Publication]) -> tuple[PortBinding, ...]:
        """Publish all of it, or nothing.

        Raises:
            ConflictError: a part is published already, or another program has the port.
            HostError: a port cannot be bound, or the rules cannot be changed.
        """
        async with self._changing:
            if len(self._open) + len(wanted) > MAX_PUBLICATIONS:
                raise UserError(f"publish port: at most {MAX_PUBLICATIONS} ports of a sandbox")
            new: list[_Open] = []
            try:
                for publication in wanted:
                    self._refuse_twice(publication, new)
                    new.append(_Open(publication=publication, ports=bind_publication(publication)))
                await self._allow([*self._open, *new])
            except BaseException:
                for one in new:
                    await one.close()
                raise
            self._open += new
            if self._is_served:
                for one in new:
                    self._serve(one)
        return tuple(binding for one in new for binding in one.bindings)

    async def unpublish(self, selectors: Sequence[PortSelector]) -> tuple[PortBinding, ...]:
        """Take back what fits, with all its connections.

        Raises:
            NotFoundError: one of the selectors fits nothing; then nothing was changed.
        """
        async with self._changing:
            gone = [one for one in self._open if self._fits(one, selectors)]
            for selector in selectors:
                if not any(selector.fits(one.publication, one.bindings) for one in gone):
                    raise NotFoundError(
                        f"unpublish port: nothing is published for {selector}",
                        hint="Run: sbx port ls SANDBOX",
                    )
            self._open = [one for one in self._open if one not in gone]
            for one in gone:
                await one.close()
            await self._allow(self._open)
        return tuple(binding for one in gone for binding in one.bindings)

    def serve(self) -> None:
        """Lead connections to the sandbox from now on; what came before has waited."""
        self._is_served = True
        for one in self._open:
            self._serve(one)

    async def close(self) -> None:
        """End everything; the rules go with the network."""
        while self._open:
            await self._open.pop().close()

    def _fits(self, one: _Open, selectors: Sequence[PortSelector]) -> bool:
        return any(selector.fits(one.publication, one.bindings) for selector in selectors)

    def _refuse_twice(self, wanted: Publication, new: Sequence[_Open]) -> None:
        taken = {
            (binding.host_ip, binding.host_port, binding.protocol)
            for one in (*self._open, *new)
            for binding in one.bindings
        }
        for ip, protocol in wanted.places():
            if (ip, wanted.host_port, protocol) in taken:
                place = PortBinding(
                    host_ip=ip,
                    host_port=wanted.host_port or 0,
                    sandbox_port=wanted.sandbox_port,
                    protocol=protocol,
                )
                raise ConflictError(
                    f"publish port: port {place.host}/{protocol.transport} is already published"
                )

    async def _allow(self, every: Iterable[_Open]) -> None:
        ports: dict[str, set[int]] = {"tcp": set(), "udp": set()}
        for one in every:
            ports[one.publication.protocol.transport].add(one.publication.sandbox_port)
        await self._network.open_guest_ports(tcp=ports["tcp"], udp=ports["udp"])

    def _serve(self, one: _Open) -> None:
        number = one.publication.sandbox_port
        for port in one.ports:
            if port.binding.protocol.transport == "udp":
                forward = UdpForward(port.sock, lambda: self._network.datagrams_to_sandbox(number))
                forward.start()
                one.forwards.append(forward)
            else:
                acceptor = Acceptor(port.sock, lambda sock: self._lead(sock, number), _CONNECTIONS)
                task = asyncio.create_task(acceptor.serve(), name=f"port {port.binding}")
                one.acceptors.append(task)

    async def _lead(self, sock: socket.socket, number: int) -> None:
        """Lead one connection to the sandbox; who calls a port that nobody serves sees a reset."""
        try:
            inside = await self._network.connect_sandbox(number)
        except OSError:
            reset_on_close(sock)
            raise
        with inside:
            started = asyncio.get_running_loop().time()
            await relay(Client(sock=sock, limits=_LIMITS), inside, Meter(started=started))


@contextlib.asynccontextmanager
async def open_ports(
    network: Network, publications: Sequence[Publication]
) -> AsyncGenerator[PublishedPorts]:
    """Bind published ports for the block; raises as `publish`."""
    ports = PublishedPorts(network)
    try:
        if publications:
            await ports.publish(publications)
        yield ports
    finally:
        await ports.close()
