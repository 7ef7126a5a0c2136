# SPDX-License-Identifier: Apache-2.0
"""`sbx policy ls|inspect|check|profile` in all their shapes."""

from __future__ import annotations

import json
from typing import cast

import pytest

from tests.unit.cli.conftest import Call, MakeSandbox


@pytest.fixture(autouse=True)
def _rules(sbx: Call, make_sandbox: MakeSandbox) -> None:
    make_sandbox("one")
    sbx("policy", "init", "deny-all")
    sbx("policy", "allow", "network", "a.com:443,b.com")
    sbx("policy", "deny", "network", "--sandbox", "one", "b.com")
    sbx("policy", "allow", "network", "--method", "GET", "--path", "/v1/**", "c.com:443")


def test_a_table(sbx: Call) -> None:
    done = sbx("policy", "ls")
    assert done.status == 0
    header, everybody, own = done.out.splitlines()
    assert header.split("  ")[0] == "POLICY"
    assert header.split() == ["POLICY", "SOURCE", "APPLIES", "TO", "SUMMARY"]
    assert everybody.split(maxsplit=3) == [
        "local-policy", "local", "all", "network: 2 allow; http: 1 allow",
    ]  # fmt: skip
    assert own.split(maxsplit=3) == ["local-policy:one", "local", "one", "network: 1 deny"]
    assert done.err == "Posture: Locked Down (deny-all)\n"
    assert sbx("policy", "list").out == done.out


def test_status_is_a_column_only_where_it_can_differ(sbx: Call) -> None:
    lines = sbx("policy", "ls", "--include-inactive").out.splitlines()
    assert lines[0].split()[-1] == "STATUS"
    assert {line.split()[-1] for line in lines[1:]} == {"active"}


def test_a_wide_table(sbx: Call) -> None:
    header, first, _second, http = sbx("policy", "ls", "--wide").out.splitlines()
    assert header.split("  ")[0] == "SOURCE"
    assert "allow-a.com:443" in first
    assert first.endswith("a.com:443, b.com")
    assert " http " in http
    assert " GET " in http


def test_json(sbx: Call) -> None:
    rules = json.loads(sbx("policy", "ls", "--json").out)["rules"]
    assert [(r["scope"], r["decision"], r["resources"]) for r in rules] == [
        ("global", "allow", ["a.com:443", "b.com"]),
        ("sandbox:one", "deny", ["b.com"]),
        ("global", "allow", ["c.com:443"]),
    ]
    assert rules[2]["http_targets"] == [{"host": "c.com:443", "methods": ["GET"], "path": "/v1/**"}]


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (["one"], 3),
        (["--type", "network"], 2),
        (["--type", "http"], 1),
        (["--type", "filesystem"], 0),
        (["--source", "kit"], 0),
        (["--decision", "deny"], 1),
        (["--created-via", "added"], 3),
        (["--created-via", "default"], 0),
        (["--protocol", "udp"], 1),
    ],
)
def test_filters(sbx: Call, flags: list[str], count: int) -> None:
    assert len(json.loads(sbx("policy", "ls", *flags, "--json").out)["rules"]) == count
    if not count:
        done = sbx("policy", "ls", *flags)
        assert (done.status, done.out) == (0, "No policies match the selected filters.\n")


def test_profiles(sbx: Call) -> None:
    assert sbx("policy", "profile", "ls").out == "No profiles found.\n"
    assert sbx("policy", "profile", "ls", "--json").out == "[]\n"
    done = sbx("policy", "ls", "--profile", "x")
    assert done.status == 1
    assert 'profile not found: "x"' in done.err


def test_inspecting(sbx: Call) -> None:
    lines = sbx("policy", "inspect", "local-policy").out.splitlines()
    assert [line.split() for line in lines] == [
        ["allow", "a.com:443", "network", "-", "active"],
        ["allow", "b.com", "network", "-", "active"],
        ["allow", "c.com:443", "http", "GET", "/v1/**", "active"],
    ]
    (rule,) = json.loads(sbx("policy", "inspect", "deny-b.com", "--json").out)["rules"]
    assert rule["scope"] == "sandbox:one"
    assert sbx("policy", "inspect", rule["id"]).out.split()[:2] == ["deny", "b.com"]
    missing = sbx("policy", "inspect", "nosuch")
    assert missing.status == 1
    assert 'no such policy or rule: "nosuch"' in missing.err


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("a.com", 0),
        ("A.com.:443", 0),
        ("a.com:80", 1),
        ("b.com:1", 0),
        ("https://a.com/x", 0),
        ("http://a.com/x", 1),
        ("https://c.com/v1/x?q", 0),
        ("https://c.com/v2", 1),
        ("https://c.com/v1/../v2", 1),
        ("192.0.2.1", 1),
        ("[2001:db8::1]:443", 1),
        ("other.example", 1),
    ],
)
def test_checking(sbx: Call, target: str, status: int) -> None:
    assert sbx("policy", "check", "network", target).status == status
    row = cast("dict[str, object]", sbx("policy", "check", "network", target, "--json").json())
    assert row["allowed"] is (status == 0)
    assert row["target"] == target
    assert row["governance"] == {"active": False}


def test_the_words_of_a_check(sbx: Call) -> None:
    assert sbx("policy", "check", "network", "a.com").out == "Allowed: a.com\n"
    assert sbx("policy", "check", "network", "evil.com").out == (
        "Denied: evil.com:443\n"
        "Reason: no matching allow rule (default deny)\n"
        "Hint: sbx policy allow network evil.com:443\n"
    )
    text = sbx("policy", "check", "network", "--verbose", "--sandbox", "one", "b.com").out
    assert "Reason: denied by rule deny-b.com (b.com)\n" in text
    assert "Decided by: deny-b.com\n" in text
    assert "Origin: local\nPattern: b.com\n" in text


def test_a_method_decides(sbx: Call) -> None:
    check = ["policy", "check", "network", "https://c.com/v1/x"]
    assert sbx(*check, "--method", "HEAD").status == 1
    assert sbx(*check, "--method", "get").status == 0
    assert sbx("policy", "check", "network", "c.com", "--method", "GET").status == 1


@pytest.mark.parametrize(
    "target",
    ["", "a b", "127.1", "0x7f.1", "ftp://a.com", "https://u:p@a.com/", "https://a.com:99999/",
     "a.com:0", "::1", "https://"],
)  # fmt: skip
def test_targets_that_are_none(sbx: Call, target: str) -> None:
    done = sbx("policy", "check", "network", target)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("ERROR: ")
    assert "p@a" not in done.err or "user name" in done.err


def test_the_host_by_its_name_inside(sbx: Call) -> None:
    sbx("policy", "allow", "network", "localhost:8080")
    assert sbx("policy", "check", "network", "host.docker.internal:8080").status == 0
    assert sbx("policy", "check", "network", "host.docker.internal:8081").status == 1
