# SPDX-License-Identifier: Apache-2.0
"""The whole way out with a real network stack in the guest's place: rules, DNS, proxies, policy.

Only the machine is missing. The guest's programs are Python, run in its own network namespace; the
servers listen on the host's loopback, which takes rules that say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.network.link import Network, open_network
from sbx.policy import ruleset
from sbx.policy.presets import Preset
from sbx.policy.ruleset import RuleSet
from sbx.proxy.events import Event, Outcome, Via
from sbx.proxy.limits import Limits
from sbx.store.paths import POLICY, Paths
from sbx.store.rules import change_policy, delete_policy, init_policy
from sbx.supervisor.way_out import WayOut, open_way_out
from sbx.system.fds import allow_descriptors
from sbx.system.process import spawn
from tests.kit import guest_stack
from tests.unit.policy.factories import rule
from tests.unit.proxy.proxies import echo, hello_web, server

PRELUDE = """
import os, re, socket, struct, sys
def say(*words):
    print(*words, flush=True)
def query(name, kind=1):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\\x12\\x34\\x01\\0\\0\\x01" + bytes(6) + labels + b"\\0" + struct.pack("!HH", kind, 1)
def told(answer):
    return socket.inet_ntoa(answer[-4:]) if answer[7] else f"rcode {answer[3] & 15}"
def lookup(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.sendto(query(name), ("192.168.127.1", 53))
        return told(s.recv(512))
def exchange(host, port, data, half_close=False):
    try:
        with socket.create_connection((host, port), 20) as s:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            found = b""
            while more := s.recv(65536):
                found += more
            return found
    except ConnectionError as error:
        return type(error).__name__.encode()
def web(host, port, name):
    head = f"GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n"
    data = exchange(host, port, head.encode())
    return data.decode().split("\\r\\n")[0]
"""


@contextlib.asynccontextmanager
async def running(where: Paths, events: list[Event]) -> AsyncGenerator[tuple[Network, WayOut]]:
    """A network with its way out."""
    async with (
        open_network() as network,
        open_way_out(where, "box", network.listeners, events.append) as way_out,
    ):
        yield network, way_out


@contextlib.asynccontextmanager
async def guest(network: Network, program: str) -> AsyncGenerator[Callable[[], Awaitable[str]]]:
    """A guest that runs a program; yields the reader of its output's next line."""
    ours, theirs = os.pipe()
    child = await spawn(
        [
            sys.executable, guest_stack.__file__, str(network.sandbox_tap), "sandbox",
            PRELUDE + program,
        ],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"},
        stdin=ours,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[network.sandbox_tap],
    )  # fmt: skip
    os.close(ours)
    stdout = child.stdout
    assert stdout is not None

    async def line() -> str:
        async with asyncio.timeout(100):  # the test's own limit is shorter, if it is not a long one
            return (await stdout.readline()).decode().rstrip("\n")

    try:
        yield line
    finally:
        os.close(theirs)
        await child.wait()


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    base = tmp_path
    return Paths(state=base / "s", config=base / "c", cache=base / "k", runtime=base / "r")


def allow(where: Paths, text: str) -> None:
    """Add a rule to the stored policy."""

    def change(rules: RuleSet) -> tuple[RuleSet, None]:
        return ruleset.add(rules, rule(text))[0], None

    change_policy(where, change)


def test_without_a_policy_everything_is_denied_with_the_reason(where: Paths) -> None:
    async def main() -> None:
        events: list[Event] = []
        program = """
say(lookup("example.com"))
framed = struct.pack("!H", len(query("a.b"))) + query("a.b")
say(told(exchange("192.168.127.1", 53, framed, True)[2:]))
connect = b"CONNECT example.com:443 HTTP/1.1\\r\\nHost: example.com:443\\r\\n\\r\\n"
say(exchange("192.168.127.1", 3128, connect).decode().replace("\\n", "|"))
say(web("203.0.113.9", 80, "example.com"))
say(exchange("203.0.113.9", 22, b"SSH-2.0-x\\r\\n"))
say(web("192.168.127.1", 22, "x"), web("192.168.126.1", 80, "x"))
"""
        async with running(where, events) as (network, _), guest(network, program) as line:
            assert await line() == "rcode 3"
            assert await line() == "rcode 3"
            answer = await line()
            assert answer.startswith("HTTP/1.1 403 ")
            assert "global network policy has not been initialized" in answer
            assert "sbx policy init balanced" in answer
            assert await line() == "HTTP/1.1 403 Forbidden"
            assert await line() in ("b''", "b'ConnectionResetError'")
            assert await line() == "HTTP/1.1 403 Forbidden HTTP/1.1 403 Forbidden"
        assert {event.outcome for event in events} == {Outcome.BLOCKED}
        assert len(events) == 7

    asyncio.run(main())


def test_the_three_ways_lead_to_an_allowed_server_and_to_no_other(where: Paths) -> None:
    async def main() -> None:
        events: list[Event] = []
        init_policy(where, Preset.BALANCED)
        async with server(hello_web) as web, server(echo) as raw, server(hello_web) as other:
            allow(where, f"allow localhost:{web}")
            allow(where, f"allow localhost:{raw}")
            program = f"""
say(lookup("host.docker.internal"), lookup("unlisted.test"))
say(web("192.168.127.1", 3128, "x") [:12])
say(exchange("192.168.127.1", 3128, b"GET http://host.docker.internal:{web}/ HTTP/1.1\\r\\n"
    b"Host: host.docker.internal:{web}\\r\\nConnection: close\\r\\n\\r\\n")[:15])
say(web("192.168.127.1", {web}, "host.docker.internal:{web}"))
say(exchange("192.168.127.1", {raw}, b"\\0any bytes", True))
say(web("192.168.127.1", {other}, "host.docker.internal:{other}"))
"""
            async with running(where, events) as (network, _), guest(network, program) as line:
                assert await line() == "192.168.127.1 rcode 3"
                assert await line() == "HTTP/1.1 400"
                assert await line() == "b'HTTP/1.1 200 OK'"
                assert await line() == "HTTP/1.1 200 OK"
                assert await line() == "b'\\x00any bytes'"
                assert await line() == "HTTP/1.1 403 Forbidden"
        ends = {(event.via, event.outcome) for event in events}
        assert (Via.EXPLICIT, Outcome.PASSED) in ends
        assert (Via.TRANSPARENT, Outcome.PASSED) in ends
        assert (Via.TRANSPARENT, Outcome.BLOCKED) in ends
        assert (Via.DNS, Outcome.BLOCKED) in ends

    asyncio.run(main())


CHANGES: dict[str, Callable[[Paths], object]] = {
    "a command": lambda where: change_policy(where, without_added),
    "another posture": lambda where: (delete_policy(where), init_policy(where, Preset.DENY_ALL)),
    "no file": lambda where: (where.config / POLICY).unlink(),
    "no folder": lambda where: where.config.rename(where.config.with_name("gone")),
}


def without_added(rules: RuleSet) -> tuple[RuleSet, None]:
    assert rules.added
    return RuleSet(preset=rules.preset), None


@pytest.mark.parametrize("how", CHANGES)
def test_a_changed_policy_cuts_what_it_ends_at_once(where: Paths, how: str) -> None:
    """Nobody tells the supervisor: the kernel does."""

    async def main() -> None:
        events: list[Event] = []
        init_policy(where, Preset.BALANCED)
        async with server(echo) as port:
            allow(where, f"allow localhost:{port}")
            program = f"""
s = socket.create_connection(("192.168.127.1", {port}), 20)
s.sendall(b"\\0hello")
say(s.recv(100))
try:
    say(s.recv(100) or "cut")
except ConnectionError:
    say("cut")
say(web("192.168.127.1", {port}, "host.docker.internal:{port}"))
"""
            async with running(where, events) as (network, _), guest(network, program) as line:
                assert await line() == "b'\\x00hello'"
                CHANGES[how](where)
                assert await line() == "cut"
                assert await line() == "HTTP/1.1 403 Forbidden"
        assert {event.outcome for event in events} == {Outcome.CUT, Outcome.BLOCKED}

    asyncio.run(main())


def test_a_damaged_policy_keeps_the_last_good_one_and_is_reported(where: Paths) -> None:
    async def main() -> None:
        init_policy(where, Preset.BALANCED)
        async with server(echo) as port:
            allow(where, f"allow localhost:{port}")
            program = f"""
say(exchange("192.168.127.1", {port}, b"\\0before", True))
socket.create_connection(("192.168.127.1", 53), 20).recv(1)  # until it is closed for silence
say(exchange("192.168.127.1", {port}, b"\\0after", True))
"""
            async with running(where, []) as (network, way_out), guest(network, program) as line:
                assert await line() == "b'\\x00before'"
                (where.config / POLICY).write_text("{")
                with pytest.raises(PermanentError, match="cannot read the policy"):
                    await way_out.refresh_policy()
                assert await line() == "b'\\x00after'"

    asyncio.run(main())


def test_a_policy_that_cannot_be_read_at_the_start_denies_all(where: Paths) -> None:
    async def main() -> None:
        where.config.mkdir()
        (where.config / POLICY).write_text("{")
        program = 'say(lookup("example.com"), web("203.0.113.9", 80, "example.com"))'
        async with running(where, []) as (network, _), guest(network, program) as line:
            assert await line() == "rcode 3 HTTP/1.1 403 Forbidden"

    asyncio.run(main())


def test_closing_it_cuts_everything_and_leaves_nothing(where: Paths) -> None:
    async def main() -> None:
        before = descriptors()
        init_policy(where, Preset.BALANCED)
        events: list[Event] = []
        async with server(echo) as port:
            allow(where, f"allow localhost:{port}")
            program = f"""
socks = [socket.create_connection(("192.168.127.1", {port}), 20) for _ in range(50)]
for s in socks:
    s.sendall(b"\\0hello")
    s.recv(100)
say("open")
"""
            async with (
                running(where, events) as (network, way_out),
                guest(network, program) as line,
            ):
                assert await line() == "open"
                await way_out.close()
            assert [event.outcome for event in events] == [Outcome.CUT] * 50
        assert descriptors() == before
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.timeout(120)
def test_ten_thousand_connections_at_once_are_bounded_and_leave_nothing(where: Paths) -> None:
    async def main() -> None:
        allow_descriptors(4096)
        before = descriptors()
        program = """
import resource, selectors
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
count = min(10000, hard - 100)
socks, poll = [], selectors.DefaultSelector()
for number in range(count):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("203.0.113.9", 1 + number))
    poll.register(s, selectors.EVENT_WRITE)
    socks.append(s)
made = 0
while made < 300:  # more than are served; the kernel keeps the others waiting
    for key, _ in poll.select():
        made += key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        poll.unregister(key.fileobj)
say(count)
for s in socks:
    s.close()
say(lookup("example.com"), web("203.0.113.9", 80, "example.com"))
"""
        async with running(where, []) as (network, way_out):
            async with guest(network, program) as line:
                assert int(await line()) == 10000
                assert descriptors() < before + 2 * Limits().max_connections + 50
                assert await line() == "rcode 3 HTTP/1.1 403 Forbidden"
            assert way_out.connections == 0
        assert descriptors() == before
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib opens one more


@pytest.mark.timeout(90)
def test_a_resolver_that_never_answers_holds_up_only_what_waits_for_it(
    where: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def dead(*_: object, **__: object) -> list[object]:
        over.wait()  # as libc does, for as long as the resolver of the host is set to
        raise OSError

    async def main() -> None:
        init_policy(where, Preset.ALLOW_ALL)
        async with server(hello_web) as port:
            allow(where, f"allow localhost:{port}")
            monkeypatch.setattr(socket, "getaddrinfo", dead)
            program = f"""
import threading
def slow():
    address = lookup("dead.test")
    say("slow", web(address, 80, "dead.test"))
threads = [threading.Thread(target=slow) for _ in range(40)]
for thread in threads:
    thread.start()
say(web("192.168.127.1", {port}, "host.docker.internal:{port}"))
for thread in threads:
    thread.join()
say("end")
"""
            async with running(where, []) as (network, _), guest(network, program) as line:
                assert await line() == "HTTP/1.1 200 OK"
                found = [await line() for _ in range(40)]
                assert set(found) == {"slow HTTP/1.1 504 Gateway Timeout"}
                assert await line() == "end"
        assert len(asyncio.all_tasks()) == 1, "what hangs is a thread of the resolver, not ours"

    try:
        asyncio.run(main())
    finally:
        over.set()
