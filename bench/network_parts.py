# SPDX-License-Identifier: Apache-2.0
"""The programs between which `bench/network.py` measures: `python -m bench.network_parts NAME ...`.

Each prints its port when it listens, and serves until it is killed: `source BYTES` sends so much to
whoever connects, `proxy PORT` is our transparent proxy in front of a port, `dns` our name server.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address

from sbx.policy.engine import Policy, compile_policy
from sbx.policy.hosts import HostName
from sbx.policy.patterns import parse_resources
from sbx.policy.rules import CreatedVia, Effect, Origin, Rule, parse_protocols
from sbx.proxy.accept import Acceptor
from sbx.proxy.connections import Connections
from sbx.proxy.context import Context
from sbx.proxy.dns.answers import Answers
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.dns_server import DnsServer
from sbx.proxy.limits import Limits
from sbx.proxy.transparent import TransparentProxy
from sbx.proxy.upstream import Upstream

LOOPBACK = "127.0.0.1"
SITE = HostName("site.test")
ASK = b"\0give"  # no TLS and no HTTP: passed on unread


def say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


def allowing() -> Policy:
    """A policy that lets connections to the site on this host pass."""
    effect = Effect.ALLOW
    rule = Rule(
        id="bench",
        name="bench",
        effect=effect,
        resources=parse_resources(f"{SITE},{LOOPBACK}"),
        protocols=parse_protocols(None, effect, None),
        http=None,
        sandbox=None,
        origin=Origin.LOCAL,
        created_via=CreatedVia.ADDED,
        private=False,
    )
    return compile_policy([rule])


def give(sock: socket.socket, size: int) -> None:
    """Send so many bytes, after the other side has asked."""
    with sock, tempfile.TemporaryFile() as data:
        data.truncate(size)
        with contextlib.suppress(ConnectionError):  # somebody only looked whether we are there
            sock.recv(64)
            sock.sendfile(data)


def source(size: int) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        say(listener.getsockname()[1])
        while True:
            threading.Thread(target=give, args=(listener.accept()[0], size)).start()


async def proxy(port: int) -> None:
    names, policy, limits = StandIns(), allowing(), Limits()

    async def resolve(_: str) -> Sequence[str]:
        return [LOOPBACK]

    context = Context(
        policy=lambda: policy,
        names=names,
        upstream=Upstream(lambda: policy, resolve, limits),
        connections=Connections(lambda: policy),
        on_event=lambda _: None,
        limits=limits,
    )
    address = names.address_of(SITE)
    listener = socket.create_server((LOOPBACK, 0))
    handler = TransparentProxy(context, lambda _: (IPv4Address(address), port)).handle
    say(listener.getsockname()[1])
    await Acceptor(listener, handler, limits.max_connections).serve()


async def dns() -> None:
    policy = allowing()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((LOOPBACK, 0))
    tcp = socket.create_server((LOOPBACK, 0))
    say(udp.getsockname()[1])
    answers = Answers(lambda: policy, StandIns())
    # Without the bound on questions: it is what would be measured.
    limits = Limits(dns_per_second=10_000_000)
    await DnsServer(answers, lambda _: None, limits).serve(udp, tcp)


def main(argv: list[str]) -> None:
    match argv[1:]:
        case ["source", size]:
            source(int(size))
        case ["proxy", port]:
            asyncio.run(proxy(int(port)))
        case ["dns"]:
            asyncio.run(dns())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
