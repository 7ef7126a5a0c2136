# SPDX-License-Identifier: Apache-2.0
"""The test internet does what the tests that use it rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.internet.client import ROOT, Internet, open_internet
from tests.internet.facts import METADATA, NOWHERE, OTHER_WEB, RESOLVER, WEB, Do, Kind, Step
from tests.internet.git import CONTENT, FILE

WEBSOCKET = ROOT / "tests" / "kit" / "websocket.py"
RECEIVE = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
sock.sendall(sys.argv[3].encode() + b"\\r\\n\\r\\n")
data = b""
try:
    sock.shutdown(socket.SHUT_WR)
    while more := sock.recv(65536):
        data += more
        if len(data) > 1_000_000: break
except OSError:  # reset while we read, or before we were done
    data += b"(reset)"
sys.stdout.buffer.write(data[:1000])
"""


def fetch(internet: Internet, *options: str) -> str:
    """What curl prints on success, or its error."""
    done = internet.run("curl", "-sS", "--max-time", "20", *options)
    return (done.stdout or done.stderr).decode()


def receive(internet: Internet, host: str, port: int, said: str = "hello") -> bytes:
    done = internet.run(sys.executable, "-c", RECEIVE, host, str(port), said)
    assert done.returncode == 0, done.stderr
    return done.stdout


def addresses(internet: Internet, name: str) -> list[str]:
    done = internet.run("getent", "ahostsv4", name)
    return [line.split()[0] for line in done.stdout.decode().splitlines() if "STREAM" in line]


def test_only_this_internet_is_there(internet: Internet) -> None:
    done = internet.run("ip", "-o", "link")
    links = [line.split()[1] for line in done.stdout.decode().splitlines()]
    assert links == ["lo:", "internet:"]
    assert addresses(internet, "site.test") == [WEB]
    assert addresses(internet, "example.com.") == []


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_https_in_both_versions(internet: Internet, option: str, version: str) -> None:
    internet.forget()
    url = f"https://v{version[0]}.test/echo?a=1"
    answer = json.loads(fetch(internet, option, "-H", "X-One: 1", "-d", "body", url))
    assert answer["body"] == "body"
    [seen] = internet.wait(Kind.HTTP, f"v{version[0]}.test")
    assert seen.what == f"POST {url}"
    assert (seen.at, seen.version, seen.body) == (f"{WEB}:443", version, b"body")
    assert seen.header("X-One") == ["1"]


@pytest.mark.parametrize("label", ["expired", "selfsigned", "wrong"])
def test_bad_certificates_are_bad(internet: Internet, label: str) -> None:
    assert "curl: (60)" in fetch(internet, f"https://{label}.test/")


def test_plain_http_on_every_address(internet: Internet) -> None:
    for host in (WEB, OTHER_WEB, METADATA, "127.0.0.1", "[::1]", "six.test", "private.test:8080"):
        assert json.loads(fetch(internet, f"http://{host}/echo"))["what"].endswith("/echo")


def test_sizes_redirects_and_chosen_answers(internet: Internet) -> None:
    assert len(internet.run("curl", "-s", "https://site.test/bytes/200000").stdout) == 200_000
    there = "https://other.test/say?status=201&header=X-A:b&body=hi"
    assert fetch(internet, "-L", "-G", "--data-urlencode", f"to={there}",
                 "https://site.test/redirect") == "hi"  # fmt: skip
    head = fetch(internet, "-i", "--http1.1", there)
    assert head.startswith("HTTP/1.1 201")
    assert "x-a: b\r\n" in head


def test_an_endless_answer(internet: Internet) -> None:
    done = internet.run("sh", "-c", "curl -s https://site.test/endless | head -c 3000000 | wc -c")
    assert done.stdout == b"3000000\n"


@pytest.mark.parametrize(("path", "part"), [("drip", "part 1\n"), ("events", "data: event 1\n")])
def test_parts_come_when_the_gate_opens(internet: Internet, path: str, part: str) -> None:
    url = f"https://site.test/{path}/{path}-gate?count=2"
    command = [*internet.enter(), "curl", "-sN", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert b"0" in first
        assert child.poll() is None
        internet.release(f"{path}-gate")
        assert part in child.stdout.read().decode()


def test_a_slow_answer_waits(internet: Internet) -> None:
    internet.release("later")
    assert fetch(internet, "http://site.test/slow/later") == "at last\n"


def test_a_body_comes_back_as_it_is_sent(internet: Internet) -> None:
    done = internet.run("curl", "-s", "--data-binary", "@-", "https://site.test/mirror",
                        stdin=b"x" * 300_000)  # fmt: skip
    assert done.stdout == b"x" * 300_000


@pytest.mark.parametrize("url", ["ws://site.test/chat", "wss://h1.test/chat"])
def test_websocket(internet: Internet, url: str) -> None:
    done = internet.run(sys.executable, WEBSOCKET, url, "one", "two")
    assert done.stdout == b"one\ntwo\n", done.stderr
    assert internet.wait(Kind.WEBSOCKET, url)[-1].body == b"onetwo"


def test_git_clones_and_pushes(internet: Internet, tmp_path: Path) -> None:
    url = "https://site.test/git/demo.git"
    done = internet.run("git", "clone", "-q", url, tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / FILE).read_text() == CONTENT
    assert any("git-upload-pack" in each.what for each in internet.seen(Kind.HTTP, url))
    done = internet.run("git", "-C", tmp_path / "work", "push", "-q", "origin", "HEAD:other")
    assert done.returncode == 0, done.stderr
    assert (internet.repositories / "demo.git" / "refs" / "heads" / "other").is_file()


def test_files_of_the_test(internet: Internet) -> None:
    (internet.files / "simple").mkdir()
    (internet.files / "simple" / "index.html").write_text("packages")
    assert fetch(internet, "https://site.test/simple/") == "packages"
    assert "no such file" in fetch(internet, "--path-as-is", "https://site.test/../control")


def test_names_can_be_rebound(internet: Internet) -> None:
    internet.forget()
    internet.name("moves.test", [WEB, OTHER_WEB], ["127.0.0.1"])
    assert sorted(addresses(internet, "moves.test.")) == [WEB, OTHER_WEB]
    assert addresses(internet, "moves.test.") == ["127.0.0.1"]
    assert addresses(internet, "moves.test.") == ["127.0.0.1"]
    assert [each.what for each in internet.seen(Kind.DNS)] == ["A moves.test"] * 3
    assert {each.at for each in internet.seen(Kind.DNS)} == {f"{RESOLVER}:53"}
    assert addresses(internet, "void.test.") == []


def test_the_search_domain_is_a_trap(internet: Internet) -> None:
    assert addresses(internet, "example.org") == [WEB]
    assert internet.seen(Kind.DNS, "A example.org.search.test")


def test_scripts(internet: Internet) -> None:
    internet.script(
        9000, Step(Do.READ_HEAD), Step(Do.SPLIT, b"HTTP/1.1 200 OK\r\n\r\n"), Step(Do.SEND, b"yes")
    )
    assert receive(internet, "site.test", 9000) == b"HTTP/1.1 200 OK\r\n\r\nyes"
    internet.script(9000, Step(Do.READ), Step(Do.RESET))
    assert receive(internet, "site.test", 9000) == b"(reset)"
    internet.script(9000, Step(Do.ENDLESS, b"more"))
    assert receive(internet, "site.test", 9000) == b"more" * 250
    internet.script(9001, Step(Do.READ_HEAD), Step(Do.SEND, b"HTTP/1.0 200 OK\r\n\r\nhi"), tls=True)
    assert fetch(internet, "https://h1.test:9001/") == "hi"
    assert internet.wait(Kind.TCP, f"{WEB}:9001")[0].body.startswith(b"GET / HTTP/1.1\r\n")


def test_echo_and_a_server_that_speaks_first(internet: Internet) -> None:
    assert receive(internet, "site.test", 7) == b"hello\r\n\r\n"
    assert receive(internet, "site.test", 2525).startswith(b"220 ready\r\nhello")


def test_packets_are_noted_wherever_they_go(internet: Internet) -> None:
    internet.forget()
    program = (
        "import socket as s\n"
        f"s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('{WEB}', 443))\n"
        f"s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('{NOWHERE}', 9))\n"
        "t = s.socket(); t.settimeout(0.01)\n"
        f"try: t.connect(('{NOWHERE}', 99))\n"
        "except TimeoutError: pass\n"
        "echo = b'\\x08\\0\\xf7\\xff' + bytes(4)\n"
        f"s.socket(s.AF_INET, s.SOCK_RAW, 1).sendto(echo, ('{WEB}', 0))\n"
    )
    done = internet.run(sys.executable, "-W", "ignore", "-c", program)
    assert done.returncode == 0, done.stderr
    internet.wait(Kind.UDP, f"{WEB}:443")
    expected = {f"udp {WEB}:443", f"udp {NOWHERE}:9", f"tcp {NOWHERE}:99", f"icmp {WEB} type 8"}
    assert expected <= internet.packets()
    internet.forget()
    assert internet.packets() == set()


def test_nothing_is_left() -> None:
    with open_internet() as made:
        namespace, folder = Path(f"/proc/{made.pid}/ns/net").readlink(), made.files.parent
        assert fetch(made, "https://site.test/say?body=yes") == "yes"
    assert not folder.exists()
    held = [p for p in Path("/proc").glob("[0-9]*/ns/net") if reads(p) == namespace]
    assert held == []


def reads(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:
        return None  # the process has ended
