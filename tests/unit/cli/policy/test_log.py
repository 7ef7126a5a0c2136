# SPDX-License-Identifier: Apache-2.0
"""`sbx policy log`: sections, filters, JSON, OCSF, verifying; hostile text is harmless."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from sbx.cli.policy.logviews import COLUMNS
from sbx.store.audit import Entry, Kind, log_of
from sbx.store.audit_writer import AuditWriter
from sbx.store.paths import Paths
from tests.kit.installation import ROOT
from tests.unit.cli.conftest import Call, MakeSandbox

ALLOWED = Entry(
    kind=Kind.NETWORK, allowed=True, outcome="passed", proxy="forward-bypass", host="a.com",
    port=443, address="192.0.2.1", rule="allow-a.com", rule_id="r1", origin="local",
    resource="a.com", reason="allowed by rule allow-a.com (a.com)", sent_bytes=10,
    received_bytes=20, duration_s=1.5,
)  # fmt: skip
BLOCKED = Entry(
    kind=Kind.DNS, allowed=False, outcome="blocked", proxy="network", host="evil\x1b[2J.com",
    deny_kind="default", reason="no matching allow rule (default deny)",
)  # fmt: skip
REQUEST = replace(ALLOWED, kind=Kind.HTTP, proxy="forward", method="GET", path="/x", port=80)
LOOKUP = replace(BLOCKED, allowed=True, outcome="passed", host="a.com", reason="allowed by rule x")


def write(where: Paths, sandbox_id: str, *entries: Entry, name: str = "one") -> None:
    for entry in entries:  # each on its own: equal look-ups of one moment would become one line
        writer = AuditWriter(log_of(where, name, sandbox_id))
        writer.record(entry)
        writer.close()


@pytest.fixture(name="one")
def _one(make_sandbox: MakeSandbox, where: Paths) -> str:
    """A sandbox with a log; its id."""
    spec = make_sandbox("one")
    write(where, spec.id, ALLOWED, BLOCKED, ALLOWED, REQUEST, LOOKUP, BLOCKED)
    return spec.id


def test_nothing_there(sbx: Call, make_sandbox: MakeSandbox) -> None:
    make_sandbox("one")
    for words in ([], ["one"], ["--verify"]):
        done = sbx("policy", "log", *words)
        assert (done.status, done.out) == (0, "No policy log entries found\n")
    document = json.loads(sbx("policy", "log", "--json").out)
    assert (document["allowed"], document["blocked"]) == ([], [])


def test_an_unknown_sandbox(sbx: Call) -> None:
    done = sbx("policy", "log", "nosuch")
    assert done.status == 1
    assert 'sandbox not found: "nosuch"' in done.err


def test_sections(sbx: Call, one: str) -> None:
    lines = sbx("policy", "log", "one").out.splitlines()
    assert lines[0] == "Blocked requests:"
    assert " ".join(lines[1].split()) == " ".join(COLUMNS)
    assert lines[2].split()[:4] == ["one", "dns", "evil\\x1b[2J.com", "network"]
    assert lines[2].split()[-1] == "2"
    assert lines[4] == "Allowed requests:"
    assert {(*x.split()[1:5], x.split()[-1]) for x in lines[6:]} == {
        ("network", "a.com:443", "forward-bypass", "allow-a.com", "2"),
        ("http", "a.com:80", "forward", "allow-a.com", "1"),
    }
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("words", "allowed", "blocked"),
    [
        ([], 2, 1),
        (["--type", "all"], 3, 1),
        (["--type", "dns"], 1, 1),
        (["--type", "network"], 1, 0),
        (["--limit", "1"], 1, 1),
    ],
)
def test_filters(sbx: Call, one: str, words: list[str], allowed: int, blocked: int) -> None:
    document = json.loads(sbx("policy", "log", "--json", *words).out)
    assert (len(document["allowed"]), len(document["blocked"])) == (allowed, blocked)


def test_json(sbx: Call, one: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads(sbx("policy", "log", "--json").out)
    assert list(document) == ["updated_at", "allowed", "blocked"]
    (row,) = document["blocked"]
    assert list(row) == [
        "host", "vm_name", "type", "proxy_type", "rule", "reason", "last_seen", "since",
        "count_since",
    ]  # fmt: skip
    assert (row["vm_name"], row["proxy_type"], row["count_since"]) == ("one", "network", 2)
    assert row["since"] <= row["last_seen"] <= document["updated_at"]
    monkeypatch.setenv("SBX_JSON_COMPAT", "wrapped")
    assert list(json.loads(sbx("policy", "log", "--json").out)) == [
        "allowed_hosts",
        "blocked_hosts",
    ]


def test_the_log_outlives_the_sandbox(sbx: Call, one: str) -> None:
    before = sbx("policy", "log").out
    assert sbx("rm", "-f", "one").status == 0
    assert sbx("policy", "log").out == before
    assert sbx("policy", "log", "one").out == before


def test_ocsf(sbx: Call, one: str) -> None:
    lines = sbx("policy", "log", "--format", "ocsf", "--type", "all").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["class_uid"] for e in events] == [4001, 4003, 4001, 4002, 4003, 4003]
    first, blocked, _again, request = events[:4]
    assert (first["action"], first["type_uid"], first["duration"]) == ("Allowed", 400106, 1500)
    assert first["dst_endpoint"] == {"hostname": "a.com", "ip": "192.0.2.1", "port": 443}
    assert first["traffic"] == {"bytes_out": 10, "bytes_in": 20, "bytes": 30}
    assert first["firewall_rule"] == {"uid": "r1", "name": "allow-a.com", "condition": "a.com"}
    assert (blocked["action_id"], blocked["rcode_id"]) == (2, 3)
    assert blocked["query"]["hostname"] == "evil\x1b[2J.com"
    assert request["http_request"]["http_method"] == "GET"
    assert request["activity_id"] == 3
    assert "\x1b" not in "".join(lines)


def test_verifying(sbx: Call, one: str, where: Paths) -> None:
    done = sbx("policy", "log", "--verify")
    assert done.status == 0
    assert done.out.startswith("✓ one (00000001-000): 7 lines, the last has hash ")
    path = log_of(where, "one", one).generation(1)
    path.write_bytes(path.read_bytes().replace(b"evil", b"good", 1))
    done = sbx("policy", "log", "one", "--verify")
    assert done.status == 1
    assert "✗ one (00000001-000): generation 1, line 3: the line, or the one before" in done.out
    (row,) = json.loads(sbx("policy", "log", "--verify", "--json").out)
    assert (row["sandbox"], row["ok"], row["problems"][0]["line"]) == ("one", False, 3)


def test_what_was_lost_or_repaired_is_said(sbx: Call, one: str, where: Paths) -> None:
    log = log_of(where, "one", one)
    with log.generation(1).open("ab") as file:
        file.write(b"half a l")
    write(where, one, ALLOWED)
    assert "ended in an unfinished line of 8 bytes" in sbx("policy", "log").err


def test_following(one: str, where: Paths) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sbx", "policy", "log", "--follow", "--json", "--limit", "1"],
        stdout=subprocess.PIPE, cwd=ROOT,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            assert json.loads(child.stdout.readline())["host"] == BLOCKED.host
            write(where, one, replace(ALLOWED, host="new.com"))
            row = json.loads(child.stdout.readline())
            assert (row["sandbox"], row["host"], row["allowed"]) == ("one", "new.com", True)
        finally:
            child.terminate()


@pytest.mark.parametrize(
    "words", [["--follow", "--verify"], ["--follow", "--format", "yaml"], ["--limit", "0"]]
)
def test_refusals(sbx: Call, words: list[str]) -> None:
    assert sbx("policy", "log", *words).status == 1
