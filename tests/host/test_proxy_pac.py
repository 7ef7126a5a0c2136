# SPDX-License-Identifier: Apache-2.0
"""Automatic proxy configuration: real files, run in their jail, choose real proxies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.proxy.pac import jailed
from sbx.system.process import run
from tests.host.test_proxy_upstream import SOCKS, dial, listens, program
from tests.internet.client import Internet
from tests.internet.facts import WEB

FILE = """
function FindProxyForURL(url, host) {
  if (host == "straight.test") return "DIRECT";
  if (host == "second.test") return "PROXY proxy.test:4; SOCKS5 proxy.test:1080";
  if (host == "last.test") return "PROXY proxy.test:4; DIRECT";
  if (host == "dead.test") return "PROXY proxy.test:4; PROXY proxy.test:5";
  if (host == "odd.test") return "SOCKS4 proxy.test:1080";
  if (host == "fails.test") throw "no";
  if (host == "loops.test") for (;;) ;
  if (host == "eats.test") { var s = "x"; for (;;) s += s; }
  if (isInNet(dnsResolve(host), "192.31.196.0", "255.255.255.0") && url.indexOf(":7/") > 0)
    return "SOCKS proxy.test:1080";
  return "PROXY proxy.test:6";
}
"""


@pytest.fixture(scope="module", name="net")
def _net(internet: Internet) -> Iterator[Internet]:
    (internet.files / "proxy.pac").write_text(FILE)
    (internet.files / "bad.pac").write_text("this is no program")
    (internet.files / "large.pac").write_text("//" + "x" * (1 << 20))
    with program(internet, "microsocks", "-p", str(SOCKS)):
        listens(internet, SOCKS)
        yield internet


@pytest.fixture(
    name="pac", params=["pac+http://wpad.test/proxy.pac", "pac+https://wpad.test/proxy.pac", "file"]
)
def _pac(net: Internet, request: pytest.FixtureRequest) -> str:
    return f"file://{net.files}/proxy.pac" if request.param == "file" else str(request.param)


def by_proxy(net: Internet) -> bool:
    return f"tcp {WEB}:{SOCKS}" in net.packets()


def test_a_file_names_the_proxy_by_the_address_of_a_name(net: Internet, pac: str) -> None:
    net.forget()
    assert dial(net, pac, "far.test:7") == ["None", "hello"]
    assert by_proxy(net)


HTTP = "pac+http://wpad.test/proxy.pac"


def test_direct_is_direct_and_checked(net: Internet) -> None:
    net.forget()
    assert dial(net, HTTP, "straight.test:7") == [WEB, "hello"]
    [line] = dial(net, HTTP, "straight.test:7", "allow far.test")
    assert line.startswith("BlockedError")
    assert not by_proxy(net)


def test_the_next_way_is_taken_when_one_is_dead(net: Internet) -> None:
    net.forget()
    assert dial(net, HTTP, "second.test:7") == ["None", "hello"]
    assert by_proxy(net)
    assert dial(net, HTTP, "last.test:7") == [WEB, "hello"]


@pytest.mark.parametrize(
    ("pac", "to", "words"),
    [
        (HTTP, "dead.test", "proxy.test:5 cannot be reached"),
        (HTTP, "odd.test", "no way is known in its answer: SOCKS4 proxy.test:1080"),
        (HTTP, "fails.test", "FindProxyForURL failed"),
        (HTTP, "eats.test", "the proxy configuration http://wpad.test/proxy.pac: "),
        ("pac+http://wpad.test/bad.pac", "far.test", "not JavaScript that can be run"),
        ("pac+http://wpad.test/large.pac", "far.test", "larger than 1 MiB"),
        ("pac+http://wpad.test/none.pac", "far.test", "the server answered 404"),
        ("pac+http://wpad.test:4/proxy.pac", "far.test", "Connection refused"),
        ("pac+https://selfsigned.test/proxy.pac", "far.test", "cannot be read"),
        ("file:///no/such.pac", "far.test", "No such file or directory"),
    ],
)
def test_without_an_answer_there_is_no_connection(
    net: Internet, pac: str, to: str, words: str
) -> None:
    net.forget()
    [line] = dial(net, pac, f"{to}:7")
    assert line.startswith("UnreachableError: ")
    assert words in line
    assert f"tcp {WEB}:7" not in net.packets()


def test_a_file_that_never_answers_is_ended(net: Internet) -> None:
    [line] = dial(net, HTTP, "loops.test:7")
    assert "it gave no answer within 10 s" in line


def test_the_file_sees_no_home_and_cannot_write() -> None:
    """What runs it is jailed: its own functions give no files, so ask the jail itself."""
    secret = Path.home() / ".sbx-test-secret"
    secret.write_text("secret")
    try:
        script = f"cat {secret}; echo x >/etc/sbx-test || echo kept"
        said = run(jailed(["sh", "-c", script]), timeout_s=20, check=False)
    finally:
        secret.unlink()
    assert secret.name.encode() in said.stderr
    assert b"secret" not in said.stdout
    assert b"kept" in said.stdout
    assert not Path("/etc/sbx-test").exists()
