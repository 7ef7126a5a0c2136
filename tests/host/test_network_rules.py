# SPDX-License-Identifier: Apache-2.0
"""The rules as the kernel applies them: this test is the guest and sends what it likes.

security.md I1, I2. Each frame is followed by one that is answered, or by a look at the counters, so
nothing here waits for silence: frames of one TAP are handled in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from sbx.errors import TransientError
from sbx.network.link import Network, open_network
from sbx.proxy.transparent import original_destination
from sbx.sandbox import addresses
from sbx.system.process import run, spawn
from tests.kit import frames, guest_stack
from tests.kit.frames import Guest

OUTSIDE = "192.0.2.10"  # TEST-NET-1, RFC 5737
GATEWAY_MAC = addresses.GATEWAY_MAC
GATEWAY, MGMT_GATEWAY = addresses.GATEWAY, addresses.MANAGEMENT_GATEWAY


def sandbox_guest(network: Network) -> Guest:
    return Guest(network.sandbox_tap, addresses.SANDBOX_MAC, addresses.SANDBOX, GATEWAY)


def management_guest(network: Network) -> Guest:
    return Guest(
        network.management_tap, addresses.MANAGEMENT_MAC, addresses.MANAGEMENT, MGMT_GATEWAY
    )


def arp_for_gateway(guest: Guest) -> None:
    guest.ask_for(guest.gateway)


def arp_spoofed(guest: Guest) -> None:
    guest.ask_for(guest.gateway, sender=guest.gateway)


def arp_reply(guest: Guest) -> None:
    guest.send(
        frames.arp(operation=2, sender=guest.gateway, sender_mac=guest.mac, wanted=guest.address),
        frames.ARP,
    )


def arp_for_other_link(guest: Guest) -> None:
    guest.ask_for(GATEWAY if guest.gateway == MGMT_GATEWAY else MGMT_GATEWAY)


def tcp_to(target: str, port: int, **more: int) -> Callable[[Guest], None]:
    def send(guest: Guest) -> None:
        body = frames.tcp(source=guest.address, target=target, port=port, **more)
        guest.send_ip(body, frames.TCP, target=target)

    return send


async def shake_hands(guest: Guest, target: str, port: int) -> None:
    """Make a TCP connection; the answer must come from where it was wanted."""
    tcp_to(target, port)(guest)
    async with asyncio.timeout(10):
        answer = frames.Segment.parse(await guest.receive())
    assert (answer.source, answer.source_port) == (target, port)
    assert answer.flags == frames.SYN | frames.ACK
    tcp_to(target, port, flags=frames.ACK, sequence=2, ack=answer.sequence + 1)(guest)


def tcp_spoofed(guest: Guest) -> None:
    body = frames.tcp(source=OUTSIDE, target=guest.gateway, source_port=7070, port=80)
    guest.send_ip(body, frames.TCP, target=guest.gateway, source=OUTSIDE)


def udp_to(target: str, port: int) -> Callable[[Guest], None]:
    return lambda guest: guest.send_ip(frames.udp(b"x", port=port), frames.UDP, target=target)


def ping(target: str) -> Callable[[Guest], None]:
    return lambda guest: guest.send_ip(frames.icmp_echo(), frames.ICMP, target=target)


def ipv6(guest: Guest) -> None:
    guest.send(frames.ipv6(b"\x80\0\0\0\0\0\0\0"), frames.IPV6)


def other_mac(guest: Guest) -> None:
    body = frames.arp(
        operation=1, sender=guest.address, sender_mac="02:00:00:00:00:07", wanted=guest.gateway
    )
    guest.send(body, frames.ARP, source="02:00:00:00:00:07")


def vlan_arp(guest: Guest) -> None:
    inner = frames.arp(
        operation=1, sender=guest.address, sender_mac=guest.mac, wanted=guest.gateway
    )
    guest.send(b"\0\x05" + frames.ARP.to_bytes(2, "big") + inner, frames.VLAN)


def unknown_kind(guest: Guest) -> None:
    guest.send(b"hello" * 20, 0x88B5)


ALWAYS_DROPPED = [
    ("arp", arp_spoofed),
    ("arp", arp_reply),
    ("arp", arp_for_other_link),
    ("tcp", tcp_to("127.0.0.1", 22)),
    ("tcp", tcp_to("0.0.0.0", 22)),
    ("tcp", tcp_to("224.0.0.251", 5353)),
    ("tcp", tcp_to("255.255.255.255", 80)),
    ("tcp", tcp_spoofed),
    ("udp", udp_to(GATEWAY, 3128)),
    ("udp", udp_to(GATEWAY, 5353)),
    ("udp", udp_to(MGMT_GATEWAY, 53)),
    ("udp", udp_to(OUTSIDE, 53)),
    ("udp", udp_to(OUTSIDE, 443)),
    ("udp", udp_to("224.0.0.251", 5353)),
    ("udp", udp_to("255.255.255.255", 67)),
    ("icmp", ping(GATEWAY)),
    ("icmp", ping(MGMT_GATEWAY)),
    ("icmp", ping(OUTSIDE)),
    ("ipv6", ipv6),
    ("spoofed", other_mac),
    ("other", unknown_kind),
]
ALL_TCP = [tcp_to(GATEWAY, 80), tcp_to(MGMT_GATEWAY, 22), tcp_to(OUTSIDE, 443)]


@pytest.mark.parametrize(("kind", "send"), ALWAYS_DROPPED)
@pytest.mark.parametrize("link", [sandbox_guest, management_guest])
def test_a_frame_is_dropped_and_counted(
    link: Callable[[Network], Guest], kind: str, send: Callable[[Guest], None]
) -> None:
    async def check() -> None:
        async with open_network() as network:
            guest = link(network)
            device = addresses.SANDBOX_TAP if link is sandbox_guest else addresses.MANAGEMENT_TAP
            send(guest)
            counters = await network.counters()
            assert {name: n for name, n in counters.items() if n} == {f"{device}_{kind}": 1}
            assert guest.received() == []

    asyncio.run(check())


@pytest.mark.parametrize("send", [*ALL_TCP, udp_to(GATEWAY, 53)])
def test_the_management_link_has_no_way_out(send: Callable[[Guest], None]) -> None:
    async def check() -> None:
        async with open_network() as network:
            send(management_guest(network))
            counters = await network.counters()
            assert counters["mgmt0_tcp"] + counters["mgmt0_udp"] == 1

    asyncio.run(check())


@pytest.mark.parametrize("link", [sandbox_guest, management_guest])
def test_a_link_answers_for_its_gateway_and_for_nothing_else(
    link: Callable[[Network], Guest],
) -> None:
    async def check() -> None:
        async with open_network() as network:
            guest = link(network)
            vlan_arp(guest)
            arp_for_other_link(guest)
            arp_for_gateway(guest)
            async with asyncio.timeout(10):
                answer = await guest.receive()
            assert answer[:6] == frames.mac_bytes(guest.mac)
            own = GATEWAY_MAC if link is sandbox_guest else addresses.MANAGEMENT_GATEWAY_MAC
            assert answer[6:12] == frames.mac_bytes(own)
            assert guest.received() == []

    asyncio.run(check())


@pytest.mark.parametrize(
    ("target", "port"), [(OUTSIDE, 443), (GATEWAY, 80), (MGMT_GATEWAY, 22), (GATEWAY, 3129)]
)
def test_all_other_tcp_ends_at_the_transparent_listener(target: str, port: int) -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with open_network() as network:
            guest = sandbox_guest(network)
            await shake_hands(guest, target, port)
            async with asyncio.timeout(10):
                taken, _ = await loop.sock_accept(network.listeners.transparent)
            with taken:
                assert original_destination(taken) == (IPv4Address(target), port)

    asyncio.run(check())


def test_dns_questions_arrive_and_answers_go_back() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with open_network() as network:
            guest = sandbox_guest(network)
            udp_to(GATEWAY, 53)(guest)
            async with asyncio.timeout(10):
                data, sender = await loop.sock_recvfrom(network.listeners.dns_udp, 100)
                assert (data, sender) == (b"x", (addresses.SANDBOX, 40000))
                await loop.sock_sendto(network.listeners.dns_udp, b"answer", sender)
                assert (await guest.receive()).endswith(b"answer")
                # Nobody asked from there: the host speaks to the guest only when it is asked.
                with pytest.raises(PermissionError):
                    await loop.sock_sendto(
                        network.listeners.dns_udp, b"more", (addresses.SANDBOX, 40001)
                    )

    asyncio.run(check())


def test_a_packet_that_claims_to_be_the_agents_answer_is_not_believed() -> None:
    """From the right address and port, but nobody called: connection tracking does not know it."""

    async def check() -> None:
        async with open_network() as network:
            guest = management_guest(network)
            with await in_namespace(network, 8080):
                for flags in (frames.SYN, frames.ACK, frames.SYN | frames.ACK, frames.RST):
                    tcp_to(MGMT_GATEWAY, 8080, source_port=7070, flags=flags)(guest)
                counters = await network.counters()
            assert counters["input"] == 4
            assert guest.received() == []

    asyncio.run(check())


def test_a_service_in_the_namespace_is_not_reachable() -> None:
    async def check() -> None:
        async with open_network() as network:
            with await in_namespace(network, 8080) as service:
                tcp_to(MGMT_GATEWAY, 8080)(management_guest(network))
                counters = await network.counters()
                assert counters["mgmt0_tcp"] == 1
                assert management_guest(network).received() == []
                await shake_hands(sandbox_guest(network), GATEWAY, 8080)
                with pytest.raises(BlockingIOError):
                    service.accept()
                network.listeners.transparent.accept()[0].close()

    asyncio.run(check())


async def in_namespace(network: Network, port: int) -> socket.socket:
    """A socket of the namespace that listens on all of its addresses."""
    sock = await network.take_socket()
    sock.bind(("0.0.0.0", port))
    sock.listen()
    return sock


@contextlib.asynccontextmanager
async def guest_with_a_stack(network: Network) -> AsyncGenerator[None]:
    ours, theirs = os.pipe()
    child = await spawn(
        [sys.executable, guest_stack.__file__, str(network.management_tap), "management"],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"},
        stdin=ours,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[network.management_tap],
    )
    os.close(ours)
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        yield
    finally:
        os.close(theirs)
        await child.wait()


def test_the_agent_is_reached_and_bytes_are_exact() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        payload = os.urandom(1 << 20)
        async with open_network() as network, guest_with_a_stack(network):
            with await network.connect_agent() as sock:
                assert sock.getpeername() == (addresses.MANAGEMENT, addresses.AGENT_PORT)
                back = b""

                async def read() -> None:
                    nonlocal back
                    while len(back) < len(payload):
                        back += await loop.sock_recv(sock, 1 << 16)

                async with asyncio.TaskGroup() as group:
                    group.create_task(read(), name="read")
                    group.create_task(loop.sock_sendall(sock, payload), name="write")
            assert back == payload
            assert (await network.counters())["input"] == 0

    asyncio.run(check())


def test_many_sessions_at_once_outlast_the_pool() -> None:
    async def check() -> None:
        async with open_network() as network, guest_with_a_stack(network):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(network.connect_agent(), name=f"{i}") for i in range(70)]
            socks = [task.result() for task in tasks]
            assert len({sock.getsockname() for sock in socks}) == 70
            for sock in socks:
                sock.close()

    asyncio.run(check())


def test_no_other_port_of_the_guest_can_be_called() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with open_network() as network, guest_with_a_stack(network):
            with await network.take_socket() as sock, pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):  # the kernel drops the call and tells nobody
                    await loop.sock_connect(sock, (addresses.MANAGEMENT, guest_stack.OTHER_PORT))
            assert (await network.counters())["output"] >= 1

    asyncio.run(check())


def test_an_agent_that_does_not_answer_is_a_bounded_wait() -> None:
    async def check() -> None:
        async with open_network() as network:
            with pytest.raises(TransientError, match="guest agent took no connection within"):
                await network.connect_agent(timeout_s=0.2)

    asyncio.run(check())


def test_the_hosts_own_switches_are_not_inherited() -> None:
    async def check() -> None:
        async with open_network() as network:
            enter = ["nsenter", "--target", str(network.helper_pid), "--user", "--net"]
            enter += ["--preserve-credentials", "--"]
            done = run([*enter, "cat", "/proc/sys/net/ipv4/ip_forward"])
            assert done.stdout.strip() == b"0"
            assert run([*enter, "ip", "-6", "address"]).stdout == b""
            route = run([*enter, "ip", "route"]).stdout.decode()
            assert "default" not in route
            neighbours = run([*enter, "ip", "neigh"]).stdout.decode().splitlines()
            assert len(neighbours) == 2
            assert all(line.rstrip().endswith("PERMANENT") for line in neighbours)

    asyncio.run(check())


def process_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_helper_keeps_no_privilege() -> None:
    async def check() -> None:
        async with open_network() as network:
            facts = process_status(network.helper_pid)
            sets = ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")
            assert {facts[name] for name in sets} == {"0" * 16}
            assert facts["NoNewPrivs"] == "1"

    asyncio.run(check())
