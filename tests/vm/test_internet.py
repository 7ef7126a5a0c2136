# SPDX-License-Identifier: Apache-2.0
"""What a user does in a Balanced sandbox, with servers of the test internet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.internet.client import Internet
from tests.internet.facts import WEB, Kind
from tests.internet.git import CONTENT, FILE
from tests.internet.packages import MODULE, NAME, publish_apt, publish_npm, publish_wheel
from tests.kit.installation import Ended, Installation

BOX = "net"
LISTED = "github.com"  # by Balanced; in this internet it is ours
# As a program without the proxy variables: redirected by the kernel.
DIRECT = ("env", "-u", "http_proxy", "-u", "https_proxy", "-u", "HTTP_PROXY", "-u", "HTTPS_PROXY")
WAYS = pytest.mark.parametrize("way", [(), DIRECT], ids=["explicit", "transparent"])
CA = "/usr/local/share/ca-certificates/test-internet.crt"
WEBSOCKET = Path(__file__).parents[1] / "kit" / "websocket.py"


@pytest.fixture(scope="module", name="box")
def _box(online: Installation, internet: Internet) -> Installation:
    internet.name(LISTED, [WEB])
    publish_wheel(internet.files)
    publish_npm(internet.files, "https://packages.test/")
    publish_apt(internet.files)
    online.ok("policy", "init", "balanced", "--no-mirrors")
    online.ok("policy", "allow", "network", "packages.test,h1.test:443,site.test:7")
    online.ok("create", "--name", BOX, "-q", "--memory", "1g", "shell")
    trust = f"cat >{CA} && update-ca-certificates"
    online.inside(BOX, "sh", "-c", trust, user="root", stdin=internet.ca.read_bytes()).ok()
    return online


def inside(box: Installation, *command: str, stdin: bytes = b"") -> Ended:
    return box.inside(BOX, *command, stdin=stdin)


@WAYS
def test_curl(box: Installation, internet: Internet, way: tuple[str, ...]) -> None:
    internet.forget()
    done = inside(box, *way, "curl", "-sS", f"https://{LISTED}/echo?x=1").ok()
    assert json.loads(done.out)["what"] == f"GET https://{LISTED}/echo?x=1"
    [seen] = internet.wait(Kind.HTTP, LISTED)
    assert (seen.at, seen.version) == (f"{WEB}:443", "2")
    assert internet.packets() <= {"udp 192.31.196.53:53", f"tcp {WEB}:443"}


@WAYS
def test_git_clone(box: Installation, way: tuple[str, ...]) -> None:
    script = f"rm -rf /tmp/demo && git clone -q https://{LISTED}/git/demo.git /tmp/demo"
    inside(box, *way, "sh", "-c", script).ok()
    assert inside(box, "cat", f"/tmp/demo/{FILE}").ok().text == CONTENT


def test_pip_install(box: Installation) -> None:
    script = (
        "rm -rf /tmp/pip && pip install -q --disable-pip-version-check --no-cache-dir "
        f"--index-url https://packages.test/simple/ --target /tmp/pip {NAME}"
    )
    inside(box, "sh", "-c", script).ok()
    program = f"import {MODULE}; print({MODULE}.SAYS)"
    done = inside(box, "env", "PYTHONPATH=/tmp/pip", "python3", "-c", program)
    assert done.ok().text == "installed over the way out\n"


def test_npm_install(box: Installation) -> None:
    script = (
        "rm -rf /tmp/npm ~/.npm && mkdir /tmp/npm && cd /tmp/npm && "
        "npm install --no-audit --no-fund --no-update-notifier "
        f"--registry https://packages.test/ {NAME} && "
        f"node -p 'require(\"{NAME}\")'"
    )
    done = inside(box, "env", f"NODE_EXTRA_CA_CERTS={CA}", "sh", "-c", script)
    assert done.ok().text.endswith("installed over the way out\n")


@WAYS
def test_apt_get_update(box: Installation, way: tuple[str, ...]) -> None:
    source = "deb [trusted=yes] http://packages.test/debian test main"
    options = "-o Dir::Etc::sourcelist=/tmp/sources.list -o Dir::Etc::sourceparts=-"
    script = (
        f"echo '{source}' >/tmp/sources.list && rm -rf /var/lib/apt/lists/* && "
        f"apt-get {options} -o APT::Update::Error-Mode=any update && "
        f"apt-cache {options} show {NAME}"
    )
    done = box.inside(BOX, *way, "sh", "-c", script, user="root")
    assert "only listed" in done.ok().text


@WAYS
def test_websocket(box: Installation, way: tuple[str, ...]) -> None:
    url = "wss://h1.test/chat"
    done = inside(box, *way, "python3", "-", url, "one", "two", stdin=WEBSOCKET.read_bytes())
    assert done.ok().text == "one\ntwo\n"


def test_events_arrive_one_by_one(box: Installation, internet: Internet) -> None:
    url = "https://packages.test/events/vm?count=2"
    with box.popen("exec", BOX, "curl", "-sN", url) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"id: 0\n"
        internet.release("vm")
        assert b"data: event 1" in child.communicate(timeout=60)[0]


def test_any_protocol(box: Installation) -> None:
    program = (
        "import socket; s = socket.create_connection(('site.test', 7)); s.sendall(b'\\0hello'); "
        "print(s.recv(6))"
    )
    assert inside(box, "python3", "-c", program).ok().text == "b'\\x00hello'\n"


def test_an_unlisted_host_fails_with_the_reason(box: Installation, internet: Internet) -> None:
    internet.forget()
    done = inside(box, "curl", "-sS", "http://unlisted.test/")
    assert "Blocked by network policy: unlisted.test:80" in done.text
    assert f"sbx policy allow network --sandbox {BOX} unlisted.test:80" in done.text
    done = inside(box, "curl", "-sS", "https://unlisted.test/")
    assert (done.returncode, b"403" in done.err) == (56, True)
    for host in ("unlisted.test", "sub.unlisted.test"):
        done = inside(box, *DIRECT, "curl", "-sS", f"https://{host}/")
        assert (done.returncode, b"Could not resolve host" in done.err) == (6, True)
    assert internet.packets() == set(), "nobody was asked"


def test_the_log_shows_both(box: Installation) -> None:
    inside(box, "curl", "-sS", f"https://{LISTED}/say").ok()
    inside(box, "curl", "-sS", "http://unlisted.test/").ok()
    text = box.ok("policy", "log", BOX).text
    assert LISTED in text
    assert "unlisted.test" in text
