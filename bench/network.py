# SPDX-License-Identifier: Apache-2.0
"""The way out: our proxy next to a plain relay, our name server next to dnsmasq, a sandbox's rate.

Needs socat, dnsmasq, dnsperf and openssl (Debian: socat dnsmasq-base dnsperf openssl).
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.frame.rows import Finding, Row, in_turns
from bench.frame.suite import Bench, create
from bench.network_parts import ASK, LOOPBACK, SITE
from tests.internet.client import Internet, open_internet
from tests.kit.installation import Installation

ROOT = Path(__file__).parents[1]
NAME = "bench"
NEEDED = ("socat", "dnsmasq", "dnsperf", "openssl")


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `proxy`, `dns`, `lookup`, `download`."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    yield from _proxy(bench)
    yield from _dns(bench)
    yield from _download(bench)


@contextmanager
def part(*arguments: str) -> Iterator[int]:
    """One of `bench.network_parts`; its port."""
    command = [sys.executable, "-m", "bench.network_parts", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.kill()


@contextmanager
def program(*command: str) -> Iterator[None]:
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as child:
        try:
            yield
        finally:
            child.kill()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


def rate(port: int) -> float:
    """MB/s of all that comes from a port."""
    buffer = bytearray(1 << 20)
    received = 0
    with socket.create_connection((LOOPBACK, port)) as sock:
        began = time.perf_counter()
        sock.sendall(ASK)
        while count := sock.recv_into(buffer):
            received += count
        return received / 1e6 / (time.perf_counter() - began)


def _proxy(bench: Bench) -> Iterator[Finding]:
    size = bench.runs(256, 1024) << 20
    port = free_port()
    with (
        part("source", str(size)) as origin,
        part("proxy", str(origin)) as ours,
        program("socat", "-b", "65536", f"TCP-LISTEN:{port},bind={LOOPBACK},fork,reuseaddr",
                f"TCP:{LOOPBACK}:{origin}"),
    ):  # fmt: skip
        _wait(port)
        found = in_turns(
            bench.runs(3, 9),
            {
                "proxy": lambda: rate(ours),
                "socat": lambda: rate(port),
                "straight": lambda: rate(origin),
            },
        )
    yield Row(
        name="network/proxy", unit="MB/s", ours=found["proxy"], limit=found["socat"],
        limit_name="socat with the same buffer", budget=0.6, more_is_better=True,
        note=f"{size >> 20} MiB over loopback, passed on unread; without a relay "
        f"{max(found['straight']):.0f} MB/s at best",
    )  # fmt: skip


def _wait(port: int) -> None:
    """Return when a TCP server is there; the bench's own programs say so themselves."""
    for _ in range(200):
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def _dns(bench: Bench) -> Iterator[Finding]:
    port = free_port(socket.SOCK_DGRAM)
    with (
        tempfile.TemporaryDirectory() as folder,
        part("dns") as ours,
        program("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                "--no-hosts", f"--port={port}", f"--listen-address={LOOPBACK}",
                "--bind-interfaces", "--pid-file=", f"--address=/{SITE}/198.18.0.1"),
    ):  # fmt: skip
        _wait(port)
        questions = Path(folder) / "questions"
        questions.write_text(f"{SITE} A\n")
        seconds = bench.runs(1, 3)
        found = in_turns(
            bench.runs(3, 7),
            {
                "ours": lambda: perf(ours, questions, seconds, many=True)[0],
                "dnsmasq": lambda: perf(port, questions, seconds, many=True)[0],
                "lookup": lambda: perf(ours, questions, 1, many=False)[1],
            },
        )
    yield Row(
        name="network/dns", unit="/s", ours=found["ours"], limit=found["dnsmasq"],
        limit_name="dnsmasq", budget=0.3, more_is_better=True,
        note="dnsperf, one name, 100 questions under way; in a sandbox 500/s are answered",
    )  # fmt: skip
    yield Row(
        name="network/lookup", unit="ms", ours=found["lookup"], budget=1.0,
        note="mean time of one question after the other",
    )  # fmt: skip


def perf(port: int, questions: Path, seconds: int, *, many: bool) -> tuple[float, float]:
    """Answers a second, and the mean latency in ms."""
    command = ["dnsperf", "-s", LOOPBACK, "-p", str(port), "-d", str(questions),
               "-l", str(seconds), "-q", "100" if many else "1"]  # fmt: skip
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    answers = re.search(r"Queries per second:\s+([\d.]+)", text)
    latency = re.search(r"Average Latency \(s\):\s+([\d.]+)", text)
    assert answers is not None, text
    assert latency is not None, text
    return float(answers[1]), float(latency[1]) * 1000


def _download(bench: Bench) -> Iterator[Finding]:
    """A real sandbox, and the host itself, from the same TLS server in a test internet."""
    size = bench.runs(32, 128) << 20
    with open_internet() as internet, bench.installation() as made:
        made.internet = internet
        folder = made.home / "served"
        folder.mkdir()
        (folder / "data").write_bytes(bytes(size))
        certificate = str(internet.certificate("fast.test"))
        serve = ["openssl", "s_server", "-accept", "4443", "-cert", certificate, "-key",
                 certificate, "-WWW", "-quiet"]  # fmt: skip
        with subprocess.Popen(
            [*internet.enter(folder), *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            try:
                yield _rates(bench, made, internet, size)
            finally:
                child.kill()


def _rates(bench: Bench, made: Installation, internet: Internet, size: int) -> Row:
    made.ok("policy", "init", "deny-all")
    made.ok("policy", "allow", "network", "fast.test")
    create(made, NAME, "--memory", "1g")
    curl = ("curl", "-sk", "-o", "/dev/null", "-w", "%{speed_download}")
    url = "https://fast.test:4443/data"

    def inside() -> float:
        return float(made.ok("exec", NAME, *curl, url).text) / 1e6

    def outside() -> float:
        return float(internet.run(*curl, url).stdout) / 1e6

    found = in_turns(bench.runs(3, 7), {"inside": inside, "outside": outside})
    return Row(
        name="network/download", unit="MB/s", ours=found["inside"], limit=found["outside"],
        limit_name="curl on the host", more_is_better=True,
        note=f"{size >> 20} MiB over TLS; the guest decrypts, under emulation too",
    )  # fmt: skip
