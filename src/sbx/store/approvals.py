# SPDX-License-Identifier: Apache-2.0
"""What sandboxes asked for and no rule allows: a small file for each, until the user answers.

The supervisor writes them, the command line reads and removes them. Bounded, since the guest
decides what is asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sbx.errors import HostError
from sbx.policy.hosts import Protocol
from sbx.store.paths import Paths
from sbx.system import codec
from sbx.system.files import read_bounded, write_atomic

MAX_PENDING = 64  # of one sandbox; further hosts are blocked without being asked about
_FOLDER = "approvals"
_LIMIT_BYTES = 8192
_ID_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One question to the user."""

    id: str
    sandbox: str
    host: str  # canonical: a name, or an address
    port: int | None  # None: only looked up so far
    protocol: Protocol
    asked_at: datetime

    @property
    def resource(self) -> str:
        """The pattern that would allow it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def ask(
    where: Paths, sandbox: str, host: str, port: int | None, protocol: Protocol = Protocol.TCP
) -> Pending | None:
    """Put a question, once; None if it was put before, or there are too many.

    Raises:
        HostError: it cannot be written.
    """
    key = hashlib.sha256(f"{sandbox}\n{protocol} {host} {port}".encode()).hexdigest()[:_ID_CHARS]
    folder = _folder(where, sandbox)
    path = folder / f"{key}.json"
    if path.exists():
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(1 for _ in folder.glob("*.json")) >= MAX_PENDING:
        return None
    found = Pending(
        id=key, sandbox=sandbox, host=host, port=port, protocol=protocol, asked_at=datetime.now(UTC)
    )
    write_atomic(path, codec.dumps(found))
    return found


def pending(where: Paths) -> list[Pending]:
    """All questions, the oldest first; a file that cannot be read is none."""
    found: list[Pending] = []
    for path in (where.state / _FOLDER).glob("*/*.json"):
        with contextlib.suppress(OSError, HostError, codec.CodecError):
            one = codec.loads(Pending, read_bounded(path, limit_bytes=_LIMIT_BYTES))
            if one.id == path.stem and one.sandbox == path.parent.name:
                found.append(one)
    return sorted(found, key=lambda one: (one.asked_at, one.id))


def answered(where: Paths, one: Pending) -> None:
    """Take a question back."""
    (_folder(where, one.sandbox) / f"{one.id}.json").unlink(missing_ok=True)


def forget_questions(where: Paths, sandbox: str) -> None:
    """Take back all questions of a sandbox that goes."""
    shutil.rmtree(_folder(where, sandbox), ignore_errors=True)


def _folder(where: Paths, sandbox: str) -> Path:
    return where.state / _FOLDER / sandbox
