# SPDX-License-Identifier: Apache-2.0
"""What must not be possible from inside, tried as root inside."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.kit.installation import Installation, lines_of

NAME = "iso"

# Tries every way out that there is without tools from elsewhere; prints what answered, except for
# the refusals of our own proxy and DNS.
PROBE = """
import json, socket, struct, sys
answers = []
def attempt(label, act):
    try:
        act()
        answers.append(label)
    except OSError:
        pass
def tcp(host, port):
    with socket.create_connection((host, port), 1) as s:
        s.settimeout(5)
        s.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode())
        found = s.recv(4096)
        while found and (more := s.recv(4096)):
            found += more
    refusals = (b"Blocked by network policy", b"a proxy takes a whole URL")
    if not found or found.startswith(b"HTTP/1.1 4") and any(r in found for r in refusals):
        raise OSError("refused")
def ask_udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
    query = b"\\x07example\\x03com\\x00\\x00\\x01\\x00\\x01"
    s.sendto(b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + query, (host, port))
    if s.recvfrom(512)[0][3] & 15 == 3:
        raise OSError("there is no such name")
def ping(host):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.settimeout(1)
    s.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FE, 1, 0), (host, 0))
    while s.recvfrom(512)[1][0] != host: pass
hosts = sys.argv[2].split(",")
for host in hosts:
    for port in (22, 53, 80, 443, 3128, 7070, int(sys.argv[1])):
        attempt(f"tcp {host} {port}", lambda: tcp(host, port))
    for port in (53, 123, 443, 5353):
        attempt(f"udp {host} {port}", lambda: ask_udp(host, port))
    attempt(f"icmp {host}", lambda: ping(host))
attempt("name", lambda: socket.getaddrinfo("example.com", 443))
attempt("tcp6", lambda: socket.create_connection(("2001:db8::1", 443), 1))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module", name="box")
def _box(shared: Installation) -> Installation:
    shared.ok("create", "--name", NAME, "-q", "--memory", "1g", "shell")
    shared.ok("run", "--name", NAME, "-d")
    return shared


@contextlib.contextmanager
def host_service() -> Generator[tuple[int, list[str]]]:
    """A service on every address of the host; yields its port, and who called."""
    callers: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    sock, address = server.accept()
                    callers.append(address[0])
                    sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], callers
        finally:
            over.set()
            thread.join()


def host_addresses() -> list[str]:
    """The host's own IPv4 addresses, loopback included."""
    found = [line.split()[3].split("/")[0] for line in lines_of(["ip", "-4", "-o", "addr"])]
    assert "127.0.0.1" in found
    return found


def test_without_a_policy_nothing_is_reachable_as_root_inside(box: Installation) -> None:
    with host_service() as (port, callers):
        for address in host_addresses():  # the service does answer on the host
            with socket.create_connection((address, port), 5) as sock:
                assert sock.recv(1) == b""
        before = len(callers)
        targets = [
            *(a for a in host_addresses() if a != "127.0.0.1"),
            "192.168.127.1", "192.168.126.1", "192.168.126.2", "203.0.113.9", "169.254.169.254",
        ]  # fmt: skip
        done = box.inside(NAME, "python3", "-c", PROBE, str(port), ",".join(targets), user="root")
        assert json.loads(done.ok().text) == []
        assert len(callers) == before == len(host_addresses())


def test_root_inside_cannot_open_a_way_by_changing_its_own_network(box: Installation) -> None:
    script = (
        "ip addr flush dev eth0; ip addr add 192.168.126.2/24 dev eth0; ip link set eth0 up; "
        "ip route replace default via 192.168.126.1; "
        "python3 -c 'import socket; socket.create_connection((\"192.168.126.1\", 53), 1)'; "
        "status=$?; ip addr flush dev eth0; ip addr add 192.168.127.2/24 dev eth0; "
        "ip route add default via 192.168.127.1; exit $status"
    )
    done = box.inside(NAME, "sh", "-c", script, user="root")
    assert done.returncode != 0
    assert b"Error" in done.err
    box.inside(NAME, "true").ok()  # the way in is not the sandbox's to close


def test_the_agent_is_out_of_sight(box: Installation) -> None:
    done = box.inside(
        NAME, "sh", "-c", "ip -o link; ss -ltn; ls /proc | grep -c '^[0-9]'", user="root"
    )
    text = done.ok().text
    assert "52:54:00:73:62:01" not in text, "the management link"
    assert "7070" not in text, "the agent's port"
    names = box.inside(NAME, "sh", "-c", "cat /proc/[0-9]*/comm", user="root").ok().text.split()
    assert "python3" not in names, names


def test_a_fork_bomb_leaves_the_way_in(sbx: Installation) -> None:
    sbx.ok("create", "--name", "bomb", "-q", "--memory", "512m", "shell")
    with sbx.popen("exec", "bomb", "sh", "-c", "b() { b | b & }; b; sleep 600") as child:
        assert child.stderr is not None
        assert b"fork" in child.stderr.readline()  # the limit is reached
        assert sbx.inside("bomb", "echo", "in").ok().text == "in\n"
        sbx.ok("stop", "bomb")
        child.kill()
        child.communicate(timeout=60)
    assert sbx.inside("bomb", "echo", "back").ok().text == "back\n"


def test_two_sandboxes_are_no_twins(box: Installation) -> None:
    box.ok("create", "--name", "twin", "-q", "--memory", "1g", "shell")
    read = (
        "cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1; "
        "cat /proc/sys/kernel/random/boot_id"
    )
    first, second = (box.inside(n, "sh", "-c", read).ok().text.split("\n") for n in (NAME, "twin"))
    assert all(a != b for a, b in zip(first[:3], second[:3], strict=True))
    box.ok("rm", "-f", "twin")


@pytest.mark.timeout(300)  # 45 000 files, one by one, in an emulated machine
def test_deleting_everything_inside_leaves_the_host_untouched(sbx: Installation) -> None:
    keep = sbx.home / "keep"
    keep.mkdir()
    (keep / "file").write_text("precious")
    host_before = sorted(p.name for p in Path("/usr/bin").iterdir())
    sbx.ok("create", "--name", "doomed", "-q", "--memory", "1g", "shell", f"{keep}:ro")
    done = sbx.inside("doomed", "rm", "-rf", "--no-preserve-root", "/", user="root")
    assert done.returncode != 0, "some of it cannot be deleted"
    assert sbx.inside("doomed", "ls", user="0").returncode == 127, "there is no ls any more"
    assert (keep / "file").read_text() == "precious"
    assert sorted(p.name for p in Path("/usr/bin").iterdir()) == host_before
    sbx.ok("stop", "doomed")
    sbx.ok("rm", "-f", "doomed")
