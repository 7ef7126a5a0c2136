# SPDX-License-Identifier: Apache-2.0
"""The way out as a user has it: a real machine, real servers on this host, a policy."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from sbx.lifecycle.enforce import enforce_policy
from sbx.policy import ruleset
from sbx.policy.presets import Preset
from sbx.policy.ruleset import RuleSet
from sbx.store.paths import Paths
from sbx.store.rules import change_policy, init_policy
from tests.kit.installation import Installation
from tests.unit.policy.factories import rule

NAME = "out"
SITE = "site.example"  # RFC 2606; the supervisor's own hosts file knows it
DIRECT = "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY"  # as without our variables


class Site(http.server.BaseHTTPRequestHandler):
    """`/endless` never ends, everything else says what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"hello {self.headers['Host']} {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40 if self.path == "/endless" else len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)
            while self.path == "/endless":
                self.wfile.write(bytes(65536))
        self.server.ended.set()  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class SiteServer(http.server.ThreadingHTTPServer):
    """A site on the host's loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Site)
        self.ended = threading.Event()  # an answer is over


@pytest.fixture(scope="module", name="site")
def _site() -> Generator[SiteServer]:
    with SiteServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module", name="box")
def _box(shared: Installation, site: SiteServer) -> Installation:
    """A Balanced sandbox whose supervisor finds SITE on this host."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a hosts file")
    hosts = shared.home / "hosts"
    hosts.write_text(Path("/etc/hosts").read_text() + f"\n127.0.0.1 {SITE} unlisted.example\n")
    script = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    shared.prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    init_policy(folders(shared), Preset.BALANCED)
    allow(shared, f"allow {SITE}:{port_of(site)}")
    allow(shared, "allow 127.0.0.1")  # where the name is: no wildcard and no name opens loopback
    shared.ok("create", "--name", NAME, "-q", "--memory", "1g", "shell")
    shared.ok("run", "--name", NAME, "-d")
    return shared


def folders(sbx: Installation) -> Paths:
    """Its folders, as the program has them."""
    own = "opensbx"
    return Paths(
        state=sbx.state / own,
        config=sbx.home / "config" / own,
        cache=sbx.cache / own,
        runtime=sbx.runtime / own,
    )


def allow(sbx: Installation, text: str) -> None:
    """Add a rule and wait until it is in force."""

    def change(rules: RuleSet) -> tuple[RuleSet, None]:
        return ruleset.add(rules, rule(text))[0], None

    change_policy(folders(sbx), change)
    assert enforce_policy(folders(sbx)) == {}


def remove(sbx: Installation, text: str) -> None:
    """Take a rule away."""

    def change(rules: RuleSet) -> tuple[RuleSet, None]:
        return ruleset.remove(rules, ruleset.Selector(id=text))[0], None

    change_policy(folders(sbx), change)
    assert enforce_policy(folders(sbx)) == {}


def port_of(site: SiteServer) -> int:
    return int(site.server_address[1])


def supervisor_pid(box: Installation) -> int:
    record = json.loads((box.folder(NAME) / "record.json").read_text())
    return int(record["supervisor_pid"])


def curl(box: Installation, url: str, *, before: str = "", more: str = "") -> tuple[int, str]:
    """Status and all output of curl inside."""
    done = box.inside(NAME, "sh", "-c", f"{before} curl -sS {more} {url} 2>&1")
    return done.returncode, done.text


@pytest.mark.parametrize("before", ["", DIRECT], ids=["explicit", "transparent"])
def test_an_allowed_name_works(box: Installation, site: SiteServer, before: str) -> None:
    where = f"{SITE}:{port_of(site)}"
    assert curl(box, f"http://{where}/path?q", before=before) == (0, f"hello {where} /path?q\n")
    root = f"sudo {DIRECT} curl -sS http://{where}/root"
    assert box.inside(NAME, "sh", "-c", root).ok().text == f"hello {where} /root\n"


def test_an_unlisted_name_fails_with_the_reason(box: Installation) -> None:
    status, text = curl(box, "http://unlisted.example/")
    assert status == 0
    assert "Blocked by network policy: unlisted.example:80" in text
    assert f"sbx policy allow network --sandbox {NAME} unlisted.example:80" in text
    status, text = curl(box, "https://unlisted.example/")
    assert (status, "403" in text) == (56, True)
    status, text = curl(box, "http://unlisted.example/", before=DIRECT)
    assert (status, "Could not resolve host" in text) == (6, True)
    # A name that is allowed on another port resolves, and goes no further.
    status, text = curl(box, f"http://{SITE}:1/", before=DIRECT)
    assert "Blocked by network policy: " + f"{SITE}:1" in text


def test_the_hosts_loopback_takes_a_rule_about_localhost(
    box: Installation, site: SiteServer
) -> None:
    port = port_of(site)
    url = f"http://host.docker.internal:{port}/x"
    for before in ("", DIRECT):
        assert f"Blocked by network policy: localhost:{port}" in curl(box, url, before=before)[1]
    allow(box, f"allow localhost:{port}")
    for before in ("", DIRECT):
        said = f"hello localhost:{port} /x\n"
        assert curl(box, url, before=before) == (0, said)
    remove(box, f"allow localhost:{port}")
    assert "Blocked by network policy" in curl(box, url)[1]


def test_the_log_shows_what_passed_and_what_was_blocked(
    box: Installation, site: SiteServer
) -> None:
    where = f"{SITE}:{port_of(site)}"
    curl(box, f"http://{where}/logged")
    curl(box, "https://unlisted.example/", before=DIRECT)
    curl(box, "https://unlisted.example/")
    found = json.loads(box.ok("policy", "log", NAME, "--json").out)
    allowed = {(row["host"], row["proxy_type"]) for row in found["allowed"]}
    blocked = {(row["host"], row["proxy_type"], row["reason"]) for row in found["blocked"]}
    assert (where, "forward") in allowed
    why = "no matching allow rule (default deny)"
    assert ("unlisted.example:443", "forward-bypass", why) in blocked
    assert ("unlisted.example", "network", why) in blocked
    box.ok("policy", "log", NAME, "--verify")


def test_a_tightened_policy_cuts_a_download(box: Installation, site: SiteServer) -> None:
    allow(box, f"allow localhost:{port_of(site)}")
    site.ended.clear()
    url = f"http://host.docker.internal:{port_of(site)}/endless"
    with box.popen("exec", NAME, "sh", "-c", f"curl -sS {url}") as child:
        assert child.stdout is not None
        assert child.stdout.read(100_000)
        remove(box, f"allow localhost:{port_of(site)}")
        child.communicate(timeout=60)
    assert child.returncode in (18, 56), "a partial file, or a reset"
    assert site.ended.wait(20)


def test_a_supervisor_that_is_killed_takes_the_transfer_along(
    box: Installation, site: SiteServer
) -> None:
    site.ended.clear()
    with box.popen("exec", NAME, "curl", "-sS", f"http://{SITE}:{port_of(site)}/endless") as child:
        assert child.stdout is not None
        assert child.stdout.read(100_000)
        os.kill(supervisor_pid(box), signal.SIGKILL)
        child.communicate(timeout=60)
    assert child.returncode != 0
    assert site.ended.wait(20), "the server sees the end"
    where = f"{SITE}:{port_of(site)}"
    assert curl(box, f"http://{where}/again") == (0, f"hello {where} /again\n")
