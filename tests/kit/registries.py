# SPDX-License-Identifier: Apache-2.0
"""The real package registries from a sandbox, with the clients' own settings.

Which hosts these are is the clients' business, so they are asked; none is named here.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import pytest

from tests.kit.installation import Installation

ASK = {
    "pip": "python3 -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)'",
    "npm": "npm config get registry",
    "apt": "sed -n 's/^URIs: *//p; s/^deb .*\\(http[^ ]*\\).*/\\1/p' "
    "/etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1",
}


def reach(installation: Installation, box: str, client: str) -> None:
    """Skip where the client's registry is not reached; allow its address if that is special."""
    found = urlsplit(installation.inside(box, "sh", "-c", ASK[client]).ok().text.strip())
    port = found.port or {"http": 80, "https": 443}[found.scheme]
    assert found.hostname
    try:
        with socket.create_connection((found.hostname, port), 10) as sock:
            address = ipaddress.ip_address(sock.getpeername()[0])
    except OSError as error:
        pytest.skip(f"needs the package registries: {error}")
    own = f"{address}:{port}"
    if not address.is_global and own not in installation.ok("policy", "ls", "--json").text:
        installation.ok("policy", "allow", "network", own)  # such as a mirror of a closed site
