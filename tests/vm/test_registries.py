# SPDX-License-Identifier: Apache-2.0
"""The real package registries, from a Balanced sandbox with the clients' own settings.

Which hosts these are is the clients' business, so they are asked; none is named here.
"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.kit.installation import Installation

BOX = "registries"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")  # of this host: its mirrors may need it
CA = "/usr/local/share/ca-certificates/host.crt"
ASK = {
    "pip": "python3 -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)'",
    "npm": "npm config get registry",
    "apt": "sed -n 's/^URIs: *//p; s/^deb .*\\(http[^ ]*\\).*/\\1/p' "
    "/etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1",
}


@pytest.fixture(scope="module", name="box")
def _box(shared: Installation) -> Installation:
    shared.ok("policy", "init", "balanced", "--no-mirrors")
    shared.ok("create", "--name", BOX, "-q", "--memory", "1g", "shell")
    trust = (
        f"cat >{CA} && update-ca-certificates 2>&1; cat {CA} >>/etc/ssl/certs/ca-certificates.crt"
    )
    bundle = CA_BUNDLE.read_bytes()
    shared.inside(BOX, "sh", "-c", trust, user="root", stdin=bundle).ok()
    return shared


def reach(box: Installation, client: str) -> None:
    """Skip where this machine does not reach the client's registry; name its address if special."""
    found = urlsplit(box.inside(BOX, "sh", "-c", ASK[client]).ok().text.strip())
    port = found.port or {"http": 80, "https": 443}[found.scheme]
    assert found.hostname
    try:
        with socket.create_connection((found.hostname, port), 10) as sock:
            address = ipaddress.ip_address(sock.getpeername()[0])
    except OSError as error:
        pytest.skip(f"needs the package registries: {error}")
    own = f"{address}:{port}"
    if not address.is_global and own not in box.ok("policy", "ls", "--json").text:
        box.ok("policy", "allow", "network", own)  # such as a mirror of a closed site


def test_pip_install(box: Installation) -> None:
    reach(box, "pip")
    script = (
        "pip install -q --disable-pip-version-check --no-cache-dir --target /tmp/pip six && "
        "PYTHONPATH=/tmp/pip python3 -c 'import six; print(six.__version__)'"
    )
    assert box.inside(BOX, "sh", "-c", script).ok().text[0].isdigit()


@pytest.mark.timeout(240)  # npm needs a minute under emulation
def test_npm_install(box: Installation) -> None:
    reach(box, "npm")
    script = (
        "mkdir -p /tmp/npm && cd /tmp/npm && npm install --no-audit --no-fund isarray >&2 && "
        "node -p 'require(\"isarray\")([])'"
    )
    env = f"NODE_EXTRA_CA_CERTS={CA}"
    assert box.inside(BOX, "env", env, "sh", "-c", script).ok().text == "true\n"


def test_apt_get_update(box: Installation) -> None:
    reach(box, "apt")
    script = "apt-get -o APT::Update::Error-Mode=any update && apt-cache policy hello"
    done = box.inside(BOX, "sh", "-c", script, user="root")
    assert "Candidate: " in done.ok().text
