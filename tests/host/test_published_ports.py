# SPDX-License-Identifier: Apache-2.0
"""Published ports with a real network stack in the guest's place, and what they do not open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Generator

import pytest

from sbx.errors import ConflictError, NotFoundError
from sbx.network.link import Network, open_network
from sbx.sandbox import addresses
from sbx.sandbox.port_spec import parse_publication, parse_selector
from sbx.sandbox.ports import PortBinding
from sbx.supervisor import udp_forward
from sbx.supervisor.published import PublishedPorts, open_ports
from tests.host.test_way_out import guest
from tests.kit import frames
from tests.kit.frames import Guest

SERVERS = """
import threading
def answer(sock):
    with sock:
        data = b""
        while more := sock.recv(65536):
            data += more
        sock.sendall(b"got:" + data)
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", 9000))
        say("ready")
        while True:
            data, sender = s.recvfrom(65535)
            s.sendto(b"%d:" % sender[1] + data, sender)
listener = socket.create_server(("0.0.0.0", 8080), backlog=1024)
threading.Thread(target=udp, daemon=True).start()
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
"""


@contextlib.asynccontextmanager
async def published(*specs: str) -> AsyncGenerator[tuple[Network, PublishedPorts]]:
    """A guest with a TCP server on 8080 and a UDP server on 9000, and published ports."""
    async with (
        open_network() as network,
        open_ports(network, [parse_publication(spec) for spec in specs]) as ports,
        guest(network, SERVERS) as line,
    ):
        assert await line() == "ready"
        ports.serve()
        yield network, ports


def family(binding: PortBinding) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in binding.host_ip else socket.AF_INET


async def exchange(binding: PortBinding, data: bytes) -> bytes:
    """Send everything, end, and read until the end."""
    reader, writer = await asyncio.open_connection(binding.host_ip, binding.host_port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.contextmanager
def udp_client(binding: PortBinding) -> Generator[socket.socket]:
    with socket.socket(family(binding), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((binding.host_ip, binding.host_port))
        yield sock


async def ask(sock: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, data)
    async with asyncio.timeout(10):
        return await loop.sock_recv(sock, 65535)


def test_bytes_are_exact_in_both_families_and_either_end_may_close_first() -> None:
    async def main() -> None:
        payload = os.urandom(1 << 20)
        async with published("8080/tcp") as (_, ports):
            assert [b.host_ip for b in ports.bindings] == ["127.0.0.1", "::1"]
            assert len({b.host_port for b in ports.bindings}) == 1
            for binding in ports.bindings:
                assert await exchange(binding, payload) == b"got:" + payload

    asyncio.run(main())


def test_udp_clients_get_their_own_answers() -> None:
    async def main() -> None:
        async with published("9000/udp") as (_, ports):
            first, second = ports.bindings
            with udp_client(first) as a, udp_client(first) as b, udp_client(second) as c:
                answers = [
                    await ask(sock, name) for sock, name in ((a, b"a"), (b, b"b"), (c, b"c"))
                ]
                assert [answer[-2:] for answer in answers] == [b":a", b":b", b":c"]
                assert len(set(answers)) == 3, "each client is another one to the sandbox"
                assert (await ask(a, b"a")) == answers[0], "and the same one again"
                assert await ask(c, bytes(1400)) == answers[2][:-1] + bytes(1400)

    asyncio.run(main())


def test_udp_clients_beyond_the_bound_take_the_place_of_the_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udp_forward, "MAX_CLIENTS", 2)

    async def main() -> None:
        async with published("9000/udp4") as (_, ports):
            (binding,) = ports.bindings
            with contextlib.ExitStack() as stack:
                socks = [stack.enter_context(udp_client(binding)) for _ in range(10)]
                before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib opens one more
                for sock in socks:
                    assert (await ask(sock, b"x")).endswith(b":x")
                assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208 - as above
                assert (await ask(socks[0], b"again")).endswith(b":again")

    asyncio.run(main())


def test_the_guest_can_open_nothing_by_a_published_port() -> None:
    async def main() -> None:
        async with open_network() as network:
            await network.open_guest_ports(tcp=[8080], udp=[9000])
            raw = Guest(
                network.sandbox_tap, addresses.SANDBOX_MAC, addresses.SANDBOX, addresses.GATEWAY
            )
            for target, port in ((addresses.GATEWAY, 40000), (addresses.GATEWAY, 3128)):
                body = frames.udp(b"x", source_port=9000, port=port)
                raw.send_ip(body, frames.UDP, target=target)
            assert (await network.counters())["input"] == 2
            body = frames.udp(b"x", source_port=9000, port=53)
            raw.send_ip(body, frames.UDP, target="192.0.2.10")
            assert (await network.counters())["sbx0_udp"] == 1
            with await network.take_socket() as service:
                service.bind((addresses.GATEWAY, 40000))
                service.listen()
                tcp = frames.tcp(
                    source=addresses.SANDBOX, target=addresses.GATEWAY, source_port=8080, port=40000
                )
                raw.send_ip(tcp, frames.TCP, target=addresses.GATEWAY)
                answer = frames.Segment.parse(await raw.receive())
                ack = frames.tcp(
                    source=addresses.SANDBOX, target=addresses.GATEWAY, source_port=8080,
                    port=40000, flags=frames.ACK, sequence=2, ack=answer.sequence + 1,
                )  # fmt: skip
                raw.send_ip(ack, frames.TCP, target=addresses.GATEWAY)
                with pytest.raises(BlockingIOError):
                    service.accept()
                network.listeners.transparent.accept()[0].close()

    asyncio.run(main())


def test_ports_that_are_not_published_cannot_be_called() -> None:
    async def main() -> None:
        async with published("8080") as (network, ports):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await network.connect_sandbox(8081)
            (binding,) = ports.bindings
            reader, writer = await asyncio.open_connection(binding.host_ip, binding.host_port)
            writer.write(b"half")
            gone = await ports.unpublish([parse_selector("8080")])
            assert gone == (binding,)
            assert ports.bindings == ()
            assert ports.publications == ()
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await exchange(binding, b"")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await network.connect_sandbox(8080)

    asyncio.run(main())


def test_a_port_is_published_once_and_all_or_nothing() -> None:
    async def main() -> None:
        async with published("8080/tcp") as (_, ports):
            taken = ports.bindings[0].host_port
            with pytest.raises(ConflictError, match=f"port 127.0.0.1:{taken}/tcp is already"):
                await ports.publish(
                    [parse_publication("9000/udp"), parse_publication(f"{taken}:80")]
                )
            assert len(ports.publications) == 1
            with socket.create_server(("127.0.0.1", 0)) as other:
                port = other.getsockname()[1]
                with pytest.raises(ConflictError, match=f"127.0.0.1:{port}/tcp: Address already"):
                    await ports.publish([parse_publication(f"{port}:80/tcp")])
            await ports.publish([parse_publication(f"{port}:80")])
            with pytest.raises(NotFoundError, match="nothing is published for 81"):
                await ports.unpublish([parse_selector("80"), parse_selector("81")])
            assert len(ports.publications) == 2

    asyncio.run(main())


def test_a_port_that_nobody_serves_resets() -> None:
    async def main() -> None:
        async with published("8081") as (_, ports):
            with pytest.raises(ConnectionResetError):
                await exchange(ports.bindings[0], b"hello")

    asyncio.run(main())


def test_many_connections_wait_their_turn_and_nothing_is_left() -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib opens one more
        async with published("8080", "9000/udp") as (_, ports):
            (binding, udp, _) = ports.bindings
            with udp_client(udp) as sock:
                await ask(sock, b"x")
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(exchange(binding, b"%d" % number), name=f"{number}")
                    for number in range(300)
                ]
            assert [task.result() for task in tasks] == [b"got:%d" % n for n in range(300)]
            _, writer = await asyncio.open_connection(binding.host_ip, binding.host_port)
        writer.close()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above

    asyncio.run(main())
