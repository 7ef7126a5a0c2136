# SPDX-License-Identifier: Apache-2.0
"""The messages of a SOCKS5 client (RFC 1928, RFC 1929): bytes in, bytes out."""

from __future__ import annotations

import struct
from collections.abc import Generator
from ipaddress import IPv4Address

from sbx.policy.hosts import Host
from sbx.policy.routes import ProxyServer

_VERSION, _CONNECT = 5, 1
_NO_LOGIN, _PASSWORD = 0, 2
_V4, _NAME, _V6 = 1, 3, 4
_FAILURES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "it took too long",
    7: "it does not know CONNECT",
    8: "it does not know this kind of address",
}

# Yields what to send and how many bytes to read then, and is sent these.
Conversation = Generator[tuple[bytes, int], bytes, None]


class SocksError(Exception):
    """The proxy refuses, or does not speak SOCKS5."""


def connect(server: ProxyServer, host: Host, port: int) -> Conversation:
    """Ask a proxy for a connection.

    Raises:
        SocksError: it does not come about.
    """
    methods = bytes([_NO_LOGIN] if server.username is None else [_NO_LOGIN, _PASSWORD])
    chosen = yield bytes([_VERSION, len(methods)]) + methods, 2
    if chosen[0] != _VERSION:
        raise SocksError("it does not speak SOCKS5")
    if chosen[1] == _PASSWORD and server.username is not None:
        login = bytes([1]) + _counted(server.username) + _counted(server.password)
        answer = yield login, 2
        if answer[1] != 0:
            raise SocksError("it does not accept the user and password")
    elif chosen[1] != _NO_LOGIN:
        raise SocksError(
            "it wants a user and password"
            if server.username is None
            else "it accepts no way to log in that we know"
        )
    request = bytes([_VERSION, _CONNECT, 0]) + _place(host) + struct.pack("!H", port)
    _, failure, _, kind = yield request, 4
    if failure:
        raise SocksError(_FAILURES.get(failure, f"failure {failure}"))
    # The address that it connected from is of no use to us, but stands before the first byte.
    if kind == _NAME:
        (length,) = yield b"", 1
    else:
        length = {_V4: 4, _V6: 16}.get(kind, -1)
    if length < 0:
        raise SocksError("it does not speak SOCKS5")
    yield b"", length + 2


def _place(host: Host) -> bytes:
    if isinstance(host, str):
        return bytes([_NAME]) + _counted(host)
    return bytes([_V4 if isinstance(host, IPv4Address) else _V6]) + host.packed


def _counted(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data
