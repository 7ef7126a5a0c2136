# SPDX-License-Identifier: Apache-2.0
"""A session: a socket to the guest agent, and the lease that keeps the sandbox from stopping."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from dataclasses import dataclass

from sbx.control.client import connect
from sbx.store import paths as names
from sbx.store.identity import read_id
from sbx.store.paths import Paths

_SESSION_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLease:
    """While it is open, the sandbox counts as used. `sock` speaks the guest's session protocol."""

    sock: socket.socket
    watch: int  # a descriptor that becomes readable when the sandbox is gone


@contextlib.contextmanager
def open_session(where: Paths, name: str) -> Generator[SessionLease]:
    """Open a session in a running sandbox (call `start` first).

    Raises:
        TransientError: it is not running.
        SbxError: the guest agent cannot be reached.
    """
    with (
        connect(where.run_folder(read_id(where, name)) / names.CONTROL_SOCKET) as client,
        socket.socket(fileno=client.session(timeout_s=_SESSION_TIMEOUT_S)) as sock,
    ):
        sock.settimeout(None)
        yield SessionLease(sock=sock, watch=client.sock.fileno())


def keep_running(where: Paths, name: str, *, keep: bool) -> None:
    """Say whether a running sandbox stays up after its last session."""
    from sbx.control.messages import Request, Verb

    with connect(where.run_folder(read_id(where, name)) / names.CONTROL_SOCKET) as client:
        client.ask(Request(verb=Verb.KEEP, keep=keep), timeout_s=_SESSION_TIMEOUT_S)
