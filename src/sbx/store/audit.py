# SPDX-License-Identifier: Apache-2.0
"""The audit log's form: one folder per sandbox, JSON lines, each chained to the one before.

A line's `hash` is SHA-256 over the hash of the line before, a newline, and the line without its own
hash. `head.json` beside the lines says where they begin and end, so that a cut-off end is noticed
too (docs/audit.md). Writing is `audit_writer`, reading and verifying `audit_reader`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import cast

from sbx.errors import SbxError
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system import codec

VERSION = 1
HEAD = "head.json"
FIRST_HASH = "0" * 64
_FOLDER = "audit"
_GENERATION = re.compile(r"([0-9]{8})\.jsonl")
_MARK = b',"hash":"'
_TAIL_BYTES = len(_MARK) + 64 + len(b'"}')


class Kind(StrEnum):
    """What was decided about."""

    NETWORK = "network"  # a connection
    HTTP = "http"  # a request that was read
    DNS = "dns"  # a look-up


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision and what came of it; no query string, header or body."""

    kind: Kind
    allowed: bool
    outcome: str  # passed, blocked, cut, failed, timeout or malformed
    proxy: str  # forward, forward-bypass, transparent or network
    host: str = ""  # name or address that was asked for; empty: not understood
    port: int | None = None
    protocol: str = "tcp"
    address: str = ""  # that was dialled
    rule: str = ""  # name; empty: none decided
    rule_id: str = ""
    origin: str = ""
    resource: str = ""  # the pattern of the rule that matched
    deny_kind: str = ""
    reason: str = ""
    method: str = ""
    path: str = ""
    sent_bytes: int = 0  # by the guest
    received_bytes: int = 0
    duration_s: float = 0.0
    credentials: tuple[str, ...] = ()  # names of secrets: put in, or on their way astray
    detail: str = ""
    count: int = 1  # equal look-ups that came together


_DEFAULTS = tuple((field.name, field.default) for field in dataclasses.fields(Entry))
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys((name for name, _ in _DEFAULTS), (str,)),
    "allowed": (bool,),
    "port": (int, type(None)),
    **dict.fromkeys(("sent_bytes", "received_bytes", "count"), (int,)),
    "duration_s": (float, int),
    "credentials": (list,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The first line of a generation."""

    version: int
    generation: int
    sandbox: str
    sandbox_id: str
    previous: str  # hash of the last line of the generation before


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Entries that could not be kept: the log could not be written for too long."""

    blocked: int
    allowed: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was cut off when the log was opened again: the end of a line that was not finished."""

    dropped_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line, without its hash; just one of the four is there."""

    seq: int
    at: datetime
    entry: Entry | None = None
    opened: Opened | None = None
    lost: Lost | None = None
    repaired: Repaired | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a log begins and ends; `seq` and `hash` may be behind the lines, never before them."""

    version: int = VERSION
    first: int = 1  # generation; older ones were dropped on purpose
    last: int = 1
    seq: int = 0
    hash: str = FIRST_HASH


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Where the log of one sandbox is; it outlives the sandbox."""

    folder: Path
    sandbox: str
    sandbox_id: str  # its first 12 characters

    def generation(self, number: int) -> Path:
        return self.folder / f"{number:08d}.jsonl"

    def generations(self) -> list[int]:
        """The numbers of those that are there."""
        names = (entry.name for entry in self.folder.iterdir())
        return sorted(int(found[1]) for name in names if (found := _GENERATION.fullmatch(name)))


def audit_folder(where: Paths) -> Path:
    """The folder of all logs of an installation."""
    return where.state / _FOLDER


def log_of(where: Paths, sandbox: str, sandbox_id: str) -> Log:
    """The log of a sandbox; nothing is made."""
    short = sandbox_id[:12]
    return Log(folder=audit_folder(where) / f"{sandbox}@{short}", sandbox=sandbox, sandbox_id=short)


def find_logs(where: Paths, sandbox: str | None = None) -> list[Log]:
    """All logs, or those of sandboxes of one name, of removed ones too; by name."""
    folder = audit_folder(where)
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
    found = (
        log_of(where, name, short) for name, at, short in (n.rpartition("@") for n in names) if at
    )
    return [log for log in found if sandbox in (None, log.sandbox)]


def encode(record: Record, previous: str) -> tuple[bytes, str]:
    """A line, and its hash."""
    body = json.dumps(_compact(record), ensure_ascii=True, separators=(",", ":")).encode()
    found = chain(previous, body)
    return body[:-1] + _MARK + found.encode() + b'"}\n', found


def split(line: bytes) -> tuple[bytes, str] | None:
    """A line without its newline: what was hashed, and the hash; None if it has none."""
    cut = len(line) - _TAIL_BYTES
    if cut <= 0 or line[cut : cut + len(_MARK)] != _MARK or not line.endswith(b'"}'):
        return None
    return line[:cut] + b"}", line[cut + len(_MARK) : -2].decode("ascii", "replace")


def chain(previous: str, body: bytes) -> str:
    """The hash of a line."""
    return hashlib.sha256(previous.encode() + b"\n" + body).hexdigest()


def parse(line: bytes) -> Record | None:
    """The record of a line without its newline; None if it is none."""
    parts = split(line)
    try:
        if parts is None:
            return None
        data: object = json.loads(parts[0])
        if not isinstance(data, dict):
            return None
        fields = cast("dict[str, object]", data)
        entry = fields.pop("entry", None)
        record = codec.from_json(Record, fields)
        return record if entry is None else replace(record, entry=_entry(entry))
    except ValueError:  # CodecError is one
        return None


def _entry(data: object) -> Entry:
    """As the codec does it, at a tenth of the time: a log holds tens of thousands."""
    if not isinstance(data, dict):
        raise codec.CodecError("an entry is an object")
    fields = cast("dict[str, object]", data)
    for name, value in fields.items():
        if type(value) not in _TYPES.get(name, ()):
            raise codec.CodecError(f"`{name}` is unknown, or of another type")
    names = tuple(cast("list[object]", fields.get("credentials", [])))
    if not all(type(name) is str for name in names):
        raise codec.CodecError("`credentials` are names")
    parsed = {**fields, "kind": Kind(str(fields.get("kind"))), "credentials": names}
    try:
        return Entry(**parsed)  # type: ignore[arg-type]  # checked above
    except TypeError as error:  # one is missing
        raise codec.CodecError(str(error)) from error


def sweep_logs(where: Paths, kept: int = 50) -> None:
    """Delete the logs of removed sandboxes but the `kept` that were written last."""
    present = set(records.names(where))
    gone: list[tuple[float, Log]] = []
    for log in find_logs(where):
        if log.sandbox in present and _is_of(where, log):
            continue
        with contextlib.suppress(OSError):
            gone.append((max(f.stat().st_mtime for f in log.folder.iterdir()), log))
    gone.sort(key=lambda item: item[0])
    for _written, log in gone[: max(len(gone) - kept, 0)]:
        shutil.rmtree(log.folder, ignore_errors=True)


def _is_of(where: Paths, log: Log) -> bool:
    try:
        return records.read_spec(where, log.sandbox).id.startswith(log.sandbox_id)
    except SbxError:
        return True  # damaged, but there: who knows


def _compact(record: Record) -> codec.Json:
    """As `codec.to_json`, without what has its default value."""
    found: dict[str, codec.Json] = {"seq": record.seq, "at": codec.to_json(record.at)}
    if record.entry is not None:
        entry = record.entry
        found["entry"] = {
            name: value for name, default in _DEFAULTS if (value := getattr(entry, name)) != default
        }
    for name in ("opened", "lost", "repaired"):
        if (value := getattr(record, name)) is not None:
            found[name] = codec.to_json(value)
    return found
