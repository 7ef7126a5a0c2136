# SPDX-License-Identifier: Apache-2.0
"""Tunnels through the proxies of the user's network: HTTP CONNECT and SOCKS5.

Only the bytes of the proxy's own answer are read: what comes behind it is the server's.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket

from sbx.policy.hosts import Endpoint, show_host
from sbx.policy.routes import ProxyServer, Scheme
from sbx.proxy.client import wait_readable
from sbx.proxy.socks import SocksError, connect
from sbx.system.text import printable

_MAX_ANSWER = 64 * 1024
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([^\r\n]{0,80}))?")


class TunnelError(Exception):
    """The proxy does not give us a connection; the text says why, for a person."""


async def open_tunnel(sock: socket.socket, server: ProxyServer, to: Endpoint) -> None:
    """Turn a connection to a proxy into one to an endpoint.

    Raises:
        TunnelError: the proxy refuses, or does not speak what it should.
        OSError: the connection broke.
    """
    if server.scheme in (Scheme.SOCKS5, Scheme.SOCKS5H):
        await _socks(sock, server, to)
    else:
        await _http(sock, server, to)


async def _socks(sock: socket.socket, server: ProxyServer, to: Endpoint) -> None:
    loop = asyncio.get_running_loop()
    talk = connect(server, to.host, to.port)
    try:
        say, count = next(talk)
        while True:
            await loop.sock_sendall(sock, say)
            say, count = talk.send(await _exactly(sock, count))
    except StopIteration:
        return
    except SocksError as error:
        raise TunnelError(f"the proxy {server} refuses {to}: {error}") from error


async def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not more:
            raise SocksError("it ends the connection")
        data += more
    return data


async def _http(sock: socket.socket, server: ProxyServer, to: Endpoint) -> None:
    target = f"{show_host(to.host)}:{to.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if server.username is not None:
        login = base64.b64encode(f"{server.username}:{server.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    request = "\r\n".join([*lines, "", ""]).encode()
    await asyncio.get_running_loop().sock_sendall(sock, request)
    found = _STATUS.match(await _answer(sock, server))
    if found is None:
        raise TunnelError(f"the proxy {server} does not speak HTTP")
    if not found[1].startswith(b"2"):
        words = printable((found[2] or b"").decode("latin-1"))
        said = f"{found[1].decode()} {words}".strip()
        raise TunnelError(f"the proxy {server} refuses {to}: {said}")


async def _answer(sock: socket.socket, server: ProxyServer) -> bytes:
    """The head of the answer; not a byte more is taken from the socket."""
    data = b""
    while len(data) < _MAX_ANSWER:
        await wait_readable(sock)
        seen = sock.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if not seen:
            raise TunnelError(f"the proxy {server} ends the connection")
        end = (data + seen).find(_END)
        size = len(seen) if end < 0 else end + len(_END) - len(data)
        data += sock.recv(size)
        if end >= 0:
            return data
    raise TunnelError(f"the answer of the proxy {server} has no end")
