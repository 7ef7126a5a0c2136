# SPDX-License-Identifier: Apache-2.0
"""The form of the audit log: lines, hashes, folders."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.store import audit
from sbx.store.audit import FIRST_HASH, Entry, Kind, Record
from sbx.store.paths import Paths

ENTRY = Entry(kind=Kind.NETWORK, allowed=False, outcome="blocked", proxy="transparent")
RECORD = Record(seq=1, at=datetime(2026, 1, 1, tzinfo=UTC), entry=ENTRY)


def test_a_line_is_one_json_object() -> None:
    line, found = audit.encode(RECORD, FIRST_HASH)
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "seq": 1,
        "at": "2026-01-01T00:00:00Z",
        "entry": {
            "kind": "network", "allowed": False, "outcome": "blocked", "proxy": "transparent",
        },
        "hash": found,
    }  # fmt: skip


@given(
    host=st.text(max_size=40),
    detail=st.text(max_size=40),
    sent=st.integers(0, 1 << 62),
    count=st.integers(1, 99),
    allowed=st.booleans(),
    credentials=st.lists(st.text(max_size=9), max_size=2).map(tuple),
)
def test_what_is_written_is_read(
    host: str, detail: str, sent: int, count: int, allowed: bool, credentials: tuple[str, ...]
) -> None:
    entry = replace(
        ENTRY, host=host, detail=detail, sent_bytes=sent, count=count, allowed=allowed,
        credentials=credentials,
    )  # fmt: skip
    record = replace(RECORD, entry=entry)
    line, found = audit.encode(record, FIRST_HASH)
    assert line.count(b"\n") == 1
    parts = audit.split(line[:-1])
    assert parts is not None
    assert audit.chain(FIRST_HASH, parts[0]) == found == parts[1]
    assert audit.parse(line[:-1]) == record


@pytest.mark.parametrize("line", [b"", b"{}", b'{"seq":1,"hash":"x"}', b"\xff" * 200, b"[" * 100])
def test_other_lines_are_none(line: bytes) -> None:
    assert audit.parse(line) is None


def test_logs_outlive_their_sandboxes(tmp_path: Path) -> None:
    where = Paths(
        state=tmp_path / "s", config=tmp_path / "c", cache=tmp_path / "k", runtime=tmp_path / "r"
    )
    assert audit.find_logs(where) == []
    for name, number in (("b", "2"), ("a", "1"), ("a", "0")):
        audit.log_of(where, name, number * 36).folder.mkdir(parents=True)
    assert [(x.sandbox, x.sandbox_id[0]) for x in audit.find_logs(where)] == [
        ("a", "0"), ("a", "1"), ("b", "2"),
    ]  # fmt: skip
    assert [x.sandbox for x in audit.find_logs(where, "b")] == ["b"]
    for log in audit.find_logs(where):
        (log.folder / "00000001.jsonl").touch()
    audit.sweep_logs(where, kept=1)
    assert len(audit.find_logs(where)) == 1
