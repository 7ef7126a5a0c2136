# SPDX-License-Identifier: Apache-2.0
"""What is shown of the audit log: equal decisions as one row, single ones as a line; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sbx.cli.output import Json, timestamp
from sbx.store.audit import Entry, Kind
from sbx.system import codec

COLUMNS = ("SANDBOX", "TYPE", "HOST", "PROXY", "RULE", "REASON", "LAST SEEN", "COUNT")
_NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One entry, whose it is and when it was written."""

    sandbox: str
    at: datetime
    entry: Entry


@dataclass(slots=True, kw_only=True)
class Row:
    """Equal decisions."""

    sandbox: str
    type: str
    host: str
    proxy: str
    rule: str
    reason: str
    since: datetime
    last_seen: datetime
    count: int

    def cells(self) -> list[str]:
        return [
            self.sandbox, self.type, self.host, self.proxy, self.rule or _NONE,
            self.reason or _NONE, timestamp(self.last_seen.replace(microsecond=0)) or _NONE,
            str(self.count),
        ]  # fmt: skip

    def document(self) -> dict[str, Json]:
        return {
            "host": self.host,
            "vm_name": self.sandbox,
            "type": self.type,
            "proxy_type": self.proxy,
            "rule": self.rule,
            "reason": self.reason,
            "last_seen": timestamp(self.last_seen),
            "since": timestamp(self.since),
            "count_since": self.count,
        }


def is_wanted(entry: Entry, kind: str | None) -> bool:
    """Whether `--type` lets it through; without it, look-ups that were allowed are left out."""
    if kind is None:
        return not (entry.kind is Kind.DNS and entry.allowed)
    return kind in ("all", entry.kind)


def group(seen: Iterable[Seen], *, allowed: bool, limit: int | None) -> list[Row]:
    """The rows of one section, what was seen last first."""
    rows: dict[tuple[str, ...], Row] = {}
    for one in seen:
        entry = one.entry
        if entry.allowed is not allowed:
            continue
        host, reason = host_text(entry), entry.reason or entry.detail
        key = (one.sandbox, entry.kind, host, entry.proxy, entry.rule, reason)
        row = rows.get(key)
        if row is None:
            rows[key] = Row(
                sandbox=one.sandbox, type=entry.kind, host=host, proxy=entry.proxy,
                rule=entry.rule, reason=reason, since=one.at, last_seen=one.at, count=entry.count,
            )  # fmt: skip
            continue
        row.count += entry.count
        row.since, row.last_seen = min(row.since, one.at), max(row.last_seen, one.at)
    found = sorted(rows.values(), key=lambda row: row.last_seen, reverse=True)
    return found[:limit]


def host_text(entry: Entry) -> str:
    """`host:port`, as far as it is known."""
    if not entry.host:
        return _NONE
    return entry.host if entry.port is None else f"{entry.host}:{entry.port}"


def line(one: Seen) -> str:
    """One entry, for a person who follows."""
    entry = one.entry
    what = f"{entry.method} {host_text(entry)}{entry.path}" if entry.method else host_text(entry)
    parts = [
        timestamp(one.at.replace(microsecond=0)) or _NONE,
        "allowed" if entry.allowed else "BLOCKED",
        one.sandbox, entry.kind, what, entry.proxy,
    ]  # fmt: skip
    if entry.outcome not in ("passed", "blocked"):
        parts.append(f"{entry.outcome}: {entry.detail}" if entry.detail else entry.outcome)
    if entry.credentials:
        parts.append(f"credentials: {', '.join(entry.credentials)}")
    parts.append(entry.reason or _NONE)
    return "  ".join(parts)


def document(one: Seen) -> dict[str, Json]:
    """One entry, as JSON has it: every field."""
    fields = codec.to_json(one.entry)
    assert isinstance(fields, dict)
    return {"sandbox": one.sandbox, "at": timestamp(one.at), **fields}
