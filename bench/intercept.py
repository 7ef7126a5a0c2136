# SPDX-License-Identifier: Apache-2.0
"""Intercepted requests, next to mitmdump with an addon that sets the same header, on this machine.

One connection that is kept, request by request: what a request takes through each proxy, what it
takes without one, and what processor time the proxy spends on it. mitmdump is looked for on the
PATH and at `SBX_BENCH_MITMDUMP`; without it there is nothing to compare with, and no row.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.frame.rows import Finding, Row
from bench.frame.suite import Bench
from sbx.credential.binding import Binding
from sbx.credential.places import Place
from sbx.system.process import spawn
from tests.unit.proxy.api import Held, World
from tests.unit.proxy.proxies import LOOPBACK, Proxies

SIZES = {"1 KB": 1000, "1 MB": 1_000_000}
_OURS, _PEER = "site.test", "localhost"  # the name of the server, as each proxy is asked for it
_ADDON = 'def request(flow):\n    flow.request.headers["x-api-key"] = "sk-bench"\n'
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the server: through a proxy, or straight."""

    name: str
    proxy: int | None
    pid: int
    ca_file: Path


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `intercept/latency …` and `intercept/processor …`."""
    mitmdump = os.environ.get("SBX_BENCH_MITMDUMP") or shutil.which("mitmdump")
    if mitmdump is None:
        bench.say("no mitmdump here: nothing to compare with")
        return
    with TemporaryDirectory(prefix="sbx-bench-") as folder, _parts(Path(folder), mitmdump) as parts:
        port, ours, peer = parts
        straight = Way(_PEER, None, 0, Path(folder) / "outer.pem")
        for label, size in SIZES.items():
            count = bench.runs(200, 2000) if size < 100_000 else bench.runs(40, 200)
            rounds = bench.runs(3, 5)
            found: dict[str, list[tuple[float, float]]] = {}
            for _ in range(rounds):
                for way in (straight, ours, peer):
                    found.setdefault(way.name if way.proxy else "direct", []).append(
                        measure(way, port, size, count)
                    )
            direct = min(latency for latency, _ in found["direct"])
            added = {
                name: tuple(max(latency - direct, 1e-6) for latency, _ in values)
                for name, values in found.items()
            }
            yield Row(
                name=f"intercept/latency {label}", unit="s", ours=added[_OURS], limit=added[_PEER],
                limit_name="mitmdump", budget=1 / 3, note="added to a request on a kept connection",
            )  # fmt: skip
            yield Row(
                name=f"intercept/processor {label}", unit="s",
                ours=tuple(cpu for _, cpu in found[_OURS]),
                limit=tuple(cpu for _, cpu in found[_PEER]),
                limit_name="mitmdump", budget=1 / 5,
                note="processor time of the proxy for a request; its inverse is the rate of a core",
            )  # fmt: skip


def measure(way: Way, port: int, size: int, count: int) -> tuple[float, float]:
    """Seconds that one of `count` requests takes, and the proxy's processor seconds for it."""
    with _open(way, port) as sock:
        for _ in range(10):  # connections and certificates are made
            _request(sock, way.name, size)
        before, began = _cpu_s(way.pid), time.perf_counter()
        for _ in range(count):
            _request(sock, way.name, size)
        took, spent = time.perf_counter() - began, _cpu_s(way.pid) - before
    return took / count, spent / count


@contextmanager
def _open(way: Way, port: int) -> Generator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", way.proxy or port))
    if way.proxy is not None:
        plain.sendall(f"CONNECT {way.name}:{port} HTTP/1.1\r\nHost: {way.name}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += plain.recv(4096)
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            raise RuntimeError(answer.decode())
    context = ssl.create_default_context(cafile=str(way.ca_file))
    with context.wrap_socket(plain, server_hostname=way.name) as sock:
        yield sock


def _request(sock: ssl.SSLSocket, host: str, size: int) -> None:
    sock.sendall(f"GET /{size} HTTP/1.1\r\nHost: {host}\r\nx-api-key: p\r\n\r\n".encode())
    found = bytearray()
    while (end := found.find(b"\r\n\r\n")) < 0:
        found += sock.recv(65536)
    is_chunked = b"chunked" in bytes(found[:end]).lower()
    left = size + end + 4 - len(found)
    if not found.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(bytes(found).decode())
    while (not found.endswith(b"0\r\n\r\n")) if is_chunked else left > 0:
        data = sock.recv(65536)
        if not data:
            raise RuntimeError("the answer is cut off")
        left -= len(data)
        found = bytearray(data[-5:]) if len(data) >= 5 else found[-5:] + data


def _cpu_s(pid: int) -> float:
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@contextmanager
def _parts(folder: Path, mitmdump: str) -> Generator[tuple[int, Way, Way]]:
    """The server's port, our proxy and mitmdump, each in a process of its own."""
    (folder / "addon.py").write_text(_ADDON)
    free = socket.create_server(("127.0.0.1", 0))
    peer_port: int = free.getsockname()[1]
    free.close()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "bench.intercept", str(folder)],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE,
        ) as ours,
        subprocess.Popen(
            [mitmdump, "--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(peer_port),
             "--set", f"confdir={folder}/mitm", "--set", "http2=false",
             "--set", f"ssl_verify_upstream_trusted_ca={folder}/outer.pem",
             "--scripts", str(folder / "addon.py")],
        ) as peer,
    ):  # fmt: skip
        try:
            assert ours.stdout is not None
            port, own_port, pid = map(int, ours.stdout.readline().split())
            certificate = folder / "mitm/mitmproxy-ca-cert.pem"
            _wait_for(peer_port)
            yield (
                port,
                Way(_OURS, own_port, pid, folder / "inner.pem"),
                Way(_PEER, peer_port, peer.pid, certificate),
            )
        finally:
            for process in (ours, peer):
                process.terminate()


def _wait_for(port: int) -> None:
    """mitmdump tells nobody when it is ready."""
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return


# Text of all sorts, as answers are: one letter repeated is a special case for every search.
_BODY = base64.b64encode(random.Random(1).randbytes(max(SIZES.values())))  # noqa: S311 - data


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.split(b" ", 2)[1][1:])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + _BODY[:size])
            await writer.drain()


async def _server_and_proxy(folder: Path) -> None:
    """The server, in a child of its own, and our proxy here; prints ports and pid."""
    world = World(folder, Held())
    (folder / "outer.pem").write_bytes(world.outer.pem())
    for name in (_OURS, _PEER):
        world.serving(name)  # writes its certificate
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    fd = listener.fileno()
    await spawn(  # it dies with us
        [sys.executable, "-m", "bench.intercept", folder, str(fd)],
        env=dict(os.environ),
        pass_fds=[fd],
    )
    place = Place(hosts=(_OURS,), port=port, header="x-api-key", format="%s")
    held = Held(Binding(id="bench", name="bench", places=(place,)))
    world.held.bindings, world.held.values = held.bindings, held.values
    proxies = Proxies("allow site.test", LOOPBACK, interception=world.interception)
    async with proxies.running():
        print(port, proxies.explicit_port, os.getpid(), flush=True)
        await asyncio.Event().wait()


async def _server(folder: Path, listener: int) -> None:
    def choose(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        sock.context = contexts[name or _OURS]

    contexts = {}
    for name in (_OURS, _PEER):
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(folder / f"{name}.pem")
    contexts[_OURS].sni_callback = choose
    sock = socket.socket(fileno=listener)
    server = await asyncio.start_server(_serve, sock=sock, ssl=contexts[_OURS])
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(_server(Path(sys.argv[1]), int(sys.argv[2])))
    else:
        asyncio.run(_server_and_proxy(Path(sys.argv[1])))
