# SPDX-License-Identifier: Apache-2.0
"""Both proxies on loopback sockets, with real servers behind them.

What stands in for the outside is the resolver's table, and the original destination, which only a
redirect of the kernel could tell. Everything else is real.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from ipaddress import IPv4Address
from ssl import SSLContext

from sbx.policy.hosts import Address, HostName
from sbx.policy.rules import Rule
from sbx.proxy.accept import Acceptor
from sbx.proxy.connections import Connections
from sbx.proxy.context import Context
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.events import Event
from sbx.proxy.explicit import ExplicitProxy
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.limits import Limits
from sbx.proxy.transparent import TransparentProxy
from sbx.proxy.upstream import Upstream
from tests.unit.policy.factories import policy

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = "allow 127.0.0.1"  # names the address at which the servers of the tests are


class Proxies:
    """The way out of one sandbox, with a policy that can be changed."""

    def __init__(
        self,
        *rules: Rule | str,
        limits: Limits | None = None,
        interception: Interception | None = None,
    ) -> None:
        self.policy = policy(*rules)
        self.events: list[Event] = []
        self._noted = asyncio.Event()
        self.hosts: dict[str, list[str]] = {}  # other names are at 127.0.0.1
        self.asked: list[str] = []
        self.original: tuple[Address, int] = (IPv4Address("192.0.2.1"), 1)
        limits = limits or Limits()
        self.context = Context(
            policy=lambda: self.policy,
            names=StandIns(),
            upstream=Upstream(lambda: self.policy, self._resolve, limits),
            connections=Connections(lambda: self.policy),
            on_event=self._note,
            limits=limits,
            sandbox="box",
            interception=interception,
        )
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=2048) for _ in "ab"]
        explicit, transparent = self._listeners
        self.explicit = Acceptor(
            explicit, ExplicitProxy(self.context).handle, limits.max_connections
        )
        self.transparent = Acceptor(
            transparent,
            TransparentProxy(self.context, lambda _: self.original).handle,
            limits.max_connections,
        )
        self.explicit_port, self.transparent_port = (
            listener.getsockname()[1] for listener in self._listeners
        )

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._noted.set()

    async def ended(self, count: int = 1) -> Event:
        """The last event, when there are so many."""
        while len(self.events) < count:
            self._noted.clear()
            await self._noted.wait()
        return self.events[-1]

    async def _resolve(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return self.hosts.get(name, ["127.0.0.1"])

    def change(self, *rules: Rule | str) -> int:
        """A new policy; how many connections it cut."""
        self.policy = policy(*rules)
        return self.context.connections.recheck()

    def lead_to(self, name: str, port: int) -> None:
        """The next redirected connection goes to the stand-in of a name."""
        self.original = (self.context.names.address_of(HostName(name)), port)

    async def ask(self, data: bytes) -> bytes:
        """All that the explicit proxy answers to these bytes."""
        return await ask(self.explicit_port, data)

    async def pass_through(self, data: bytes) -> bytes:
        """All that comes back through the transparent proxy."""
        return await ask(self.transparent_port, data)

    async def connect(
        self, host: str, port: int
    ) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for a tunnel: the answer's head, and the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.explicit_port)
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        return await reader.readuntil(b"\r\n\r\n"), reader, writer

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[Proxies]:
        async with asyncio.TaskGroup() as tasks:
            serving = [tasks.create_task(a.serve()) for a in (self.explicit, self.transparent)]
            try:
                yield self
            finally:
                for task in serving:
                    task.cancel()
        for listener in self._listeners:
            listener.close()
        assert len(self.context.connections) == 0


@contextlib.asynccontextmanager
async def server(serve: Serve, ssl: SSLContext | None = None) -> AsyncGenerator[int]:
    """A server on loopback; its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=ssl, backlog=2048)
    port: int = listening.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        listening.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, until the other side ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def hello_web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a request without a body by the head of that request."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
    await writer.drain()


async def ask(port: int, data: bytes) -> bytes:
    """Send bytes, end, and read until the other side ends or resets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    try:
        writer.write(data)
        writer.write_eof()
        while more := await reader.read(65536):
            found += more
    except OSError:
        found += b"(reset)"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return found


@contextlib.contextmanager
def fails(*errors: type[BaseException]) -> Generator[None]:
    """One of these errors must come."""
    try:
        yield
    except errors:
        return
    raise AssertionError(f"none of {errors} came")
