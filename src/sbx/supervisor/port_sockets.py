# SPDX-License-Identifier: Apache-2.0
"""The host's sockets for published ports: bound, and not served yet."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from dataclasses import dataclass

from sbx.errors import ConflictError, HostError, SbxError
from sbx.sandbox.ports import PortBinding, PortProtocol, Publication, bracketed

_BACKLOG = 128
_TRIES = 16  # for a free port that is free in both families
_NO_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPort:
    """One address and port of the host, and its socket."""

    binding: PortBinding
    sock: socket.socket


def bind_publication(wanted: Publication) -> list[BoundPort]:
    """Bind everything that a publication means, or nothing. The sockets are the caller's.

    Raises:
        ConflictError: another program has the port.
        HostError: it must not be bound, or the host has no such address.
    """
    tries = _TRIES if wanted.host_port is None and len(wanted.places()) > 1 else 1
    for left in reversed(range(tries)):
        try:
            return _bind_all(wanted)
        except ConflictError:
            if not left:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_all(wanted: Publication) -> list[BoundPort]:
    made: list[BoundPort] = []
    port = wanted.host_port or 0
    with contextlib.ExitStack() as undo:
        for ip, protocol in wanted.places():
            try:
                sock = undo.enter_context(_bind(ip, port, protocol))
            except OSError as error:
                if made and wanted.host_ip is None and error.errno in _NO_FAMILY:
                    continue  # a host without IPv6 has one loopback address
                raise _explain(error, wanted, ip, port) from error
            port = sock.getsockname()[1]  # both families get the same one
            binding = PortBinding(
                host_ip=ip, host_port=port, sandbox_port=wanted.sandbox_port, protocol=protocol
            )
            made.append(BoundPort(binding=binding, sock=sock))
        undo.pop_all()
    return made


def _bind(ip: str, port: int, protocol: PortProtocol) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol.transport == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:  # a restart is not kept waiting by old connections
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(error: OSError, wanted: Publication, ip: str, port: int) -> SbxError:
    place = f"{bracketed(ip)}:{port}/{wanted.protocol.transport}"
    why = f"publish port: {place}: {os.strerror(error.errno or 0)}"
    if error.errno == errno.EADDRINUSE:
        return ConflictError(
            why, hint=f"Choose another port of the host, such as: {wanted.sandbox_port} alone"
        )
    hint = "Use a port above 1023" if error.errno == errno.EACCES else None
    return HostError(why, hint=hint)
