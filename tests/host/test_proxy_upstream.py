# SPDX-License-Identifier: Apache-2.0
"""Proxies of the user's network: real ones, between us and the servers of the test internet."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.internet.client import ROOT, Internet
from tests.internet.facts import WEB, Kind

DIAL = ROOT / "tests" / "kit" / "dial.py"
HTTP, SOCKS, SOCKS_LOGIN, TLS = 3128, 1080, 1081, 3129
ALLOWED = ("allow **",)


@contextmanager
def program(internet: Internet, *command: str) -> Generator[None]:
    """A server, for the block."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with subprocess.Popen([*internet.enter(), *command], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as child:  # fmt: skip
        try:
            yield
        finally:
            child.kill()


def listens(internet: Internet, port: int) -> None:
    """Return when a server is there: the kernel's list of sockets says so."""
    watch = "until ss -ltnH | grep -q ':$0 '; do :; done".replace("$0", str(port))
    assert internet.run("timeout", "20", "bash", "-c", watch).returncode == 0


@pytest.fixture(scope="module", name="net")
def _net(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """The test internet with the proxies in it."""
    folder: Path = tmp_path_factory.mktemp("proxies")
    settings = folder / "tinyproxy.conf"
    settings.write_text(
        f"Port {HTTP}\nListen 0.0.0.0\nMaxClients 50\nBasicAuth me secret\nTimeout 60\n"
    )
    certificate = internet.certificate("proxy.test")
    listen = f"OPENSSL-LISTEN:{TLS},reuseaddr,fork,verify=0,cert={certificate}"
    with (
        program(internet, "tinyproxy", "-d", "-c", str(settings)),
        program(internet, "microsocks", "-p", str(SOCKS)),
        program(internet, "microsocks", "-p", str(SOCKS_LOGIN), "-u", "me", "-P", "secret"),
        program(internet, "socat", listen, f"TCP:127.0.0.1:{HTTP}"),
    ):
        for port in (HTTP, SOCKS, SOCKS_LOGIN, TLS):
            listens(internet, port)
        yield internet


def dial(net: Internet, proxy: str, where: str, *rules: str, no_proxy: str = "") -> list[str]:
    """The lines that `tests/kit/dial.py` prints."""
    done = net.run(
        "env", f"PYTHONPATH={ROOT}:{ROOT / 'src'}", sys.executable, DIAL,
        "hello\n", proxy, no_proxy, where, *(rules or ALLOWED),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


REMOTE = [
    f"http://me:secret@proxy.test:{HTTP}",
    f"https://me:secret@proxy.test:{TLS}",
    f"socks5h://proxy.test:{SOCKS}",
    f"socks5h://me:secret@proxy.test:{SOCKS_LOGIN}",
]
LOCAL = [f"socks5://proxy.test:{SOCKS}", f"socks5://me:secret@proxy.test:{SOCKS_LOGIN}"]


@pytest.mark.parametrize("proxy", [*REMOTE, *LOCAL])
def test_bytes_pass_both_ways(net: Internet, proxy: str) -> None:
    net.forget()
    address, *lines = dial(net, proxy, "far.test:7")
    assert lines == ["hello"]
    assert address == ("None" if proxy in REMOTE else WEB)
    assert f"tcp {WEB}:{proxy.rpartition(':')[2]}" in net.packets(), "the proxy was asked"
    assert net.wait(Kind.TCP, ":7")[0].body == b"hello\n"


@pytest.mark.parametrize("proxy", [*REMOTE, *LOCAL])
def test_a_server_that_speaks_first_is_heard_whole(net: Internet, proxy: str) -> None:
    assert dial(net, proxy, "far.test:2525")[1:] == ["220 ready", "hello"]


def test_exceptions_and_this_host_go_straight(net: Internet) -> None:
    net.forget()
    assert dial(net, REMOTE[0], "far.test:7", no_proxy="*.far.test") == [WEB, "hello"]
    assert dial(net, REMOTE[0], "localhost:7", "allow localhost") == ["127.0.0.1", "hello"]
    assert {each for each in net.packets() if f":{HTTP}" in each} == set()


@pytest.mark.parametrize("proxy", [REMOTE[0], REMOTE[2], LOCAL[0]])
def test_the_policy_comes_first(net: Internet, proxy: str) -> None:
    net.forget()
    [line] = dial(net, proxy, "other.test:7", "allow far.test")
    assert line.startswith("BlockedError")
    [line] = dial(net, proxy, "10.31.196.1:7")
    assert line == "BlockedError: it is a private address that no rule names"
    assert net.packets() == set(), "neither the proxy nor a name server was asked"


@pytest.mark.parametrize("name", ["private", "metadata", "loopback", "mapped"])
def test_a_name_that_is_resolved_here_is_checked(net: Internet, name: str) -> None:
    net.forget()
    [line] = dial(net, LOCAL[0], f"{name}.test:7")
    assert line.startswith("BlockedError")
    assert f"tcp {WEB}:{SOCKS}" not in net.packets()


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (f"http://proxy.test:{HTTP}", "407"),
        (f"http://me:wrong@proxy.test:{HTTP}", "40"),
        (f"socks5h://proxy.test:{SOCKS_LOGIN}", "wants a user and password"),
        (f"socks5h://me:wrong@proxy.test:{SOCKS_LOGIN}", "does not accept the user and password"),
        ("http://proxy.test:4", "Connection refused"),
        ("socks5://void.test:4", "cannot be resolved"),
        ("socks5h://proxy.test:2525", "does not speak SOCKS5"),
        ("http://proxy.test:2525", "does not speak HTTP"),
        (f"https://wrong.test:{TLS}", "certificate is not trusted"),
        ("https://proxy.test:2525", "SSL"),
    ],
)
def test_what_goes_wrong_is_said_without_the_password(
    net: Internet, proxy: str, words: str
) -> None:
    [line] = dial(net, proxy, "far.test:7")
    assert line.startswith("UnreachableError: far.test:7 cannot be reached by the proxy ") or (
        line.startswith("UnreachableError: the proxy ")
    )
    assert words in line
    assert "wrong@" not in line


def test_a_server_that_is_not_there_is_said(net: Internet) -> None:
    for proxy in (REMOTE[0], REMOTE[2]):
        [line] = dial(net, proxy, "far.test:4")
        assert line.startswith("UnreachableError: far.test:4 cannot be reached by the proxy")
