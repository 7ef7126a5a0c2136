# SPDX-License-Identifier: Apache-2.0
"""`sbx ls` in all its shapes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.sandbox.record import Failure
from sbx.store import records
from sbx.store.paths import Paths
from tests.unit.cli.conftest import Call, MakeSandbox


def test_nothing_there(sbx: Call) -> None:
    done = sbx("ls")
    assert (done.status, done.out) == (0, "No sandboxes found.\n")
    assert "sbx run shell ." in done.err
    assert sbx("ls", "--json").out == "[]\n"
    assert sbx("ls", "-q").out == ""
    assert sbx("ls", "--format", "yaml").out == "[]\n"


def test_a_table_that_scripts_can_cut(sbx: Call, make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    make_sandbox("shell-app", workspace=tmp_path)
    make_sandbox("none")
    header, none, app = sbx("ls").out.splitlines()
    assert header.split() == ["SANDBOX", "AGENT", "STATUS", "PORTS", "WORKSPACE"]
    assert app.split() == ["shell-app", "shell", "stopped", str(tmp_path)]
    assert none.split() == ["none", "shell", "stopped", "-"]


def test_a_row_of_json(sbx: Call, make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    make_sandbox("a.b", workspace=tmp_path)
    assert sbx("ls", "--json").json() == [
        {
            "id": "00000001-0000-4000-8000-000000000000",
            "name": "a.b",
            "agent": "shell",
            "status": "stopped",
            "ports": [],
            "workspaces": [str(tmp_path)],
            "created_at": "2026-01-01T00:00:00Z",
            "last_used_at": None,
            "detached": False,
        }
    ]


@pytest.mark.parametrize("by", ["variable", "setting"])
def test_older_tools_get_objects(sbx: Call, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    if by == "variable":
        monkeypatch.setenv("SBX_JSON_COMPAT", "wrapped")
    else:
        sbx("settings", "set", "output.jsonCompat", "wrapped")
    assert sbx("ls", "--json").json() == {"sandboxes": []}


def test_a_failed_sandbox_is_stopped_and_says_why(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths
) -> None:
    make_sandbox("one")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    failure = Failure(message="no memory\x1b[2J", hint="Buy some", details="line 1\nline 2", at=at)
    records.update_record(where, "one", failure=failure)
    (row,) = json.loads(sbx("ls", "--json").out)
    assert (row["status"], row["failure"]) == ("stopped", "no memory\x1b[2J")
    assert sbx("ls").out.splitlines()[1].split()[:3] == ["one", "shell", "failed"]
    shown = sbx("inspect", "one").out
    assert (
        "failure    no memory\\x1b[2J\n           line 1\n           line 2\n           Buy some\n"
        in shown
    )
    document = sbx("inspect", "one", "--json").json()
    assert isinstance(document, dict)
    assert document["failure"]["hint"] == "Buy some"


def test_a_damaged_sandbox_is_a_warning_and_hides_no_other(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths
) -> None:
    make_sandbox("good")
    make_sandbox("bad")
    (where.sandbox("bad") / "spec.json").write_text("{")
    done = sbx("ls", "-q")
    assert (done.status, done.out) == (0, "good\n")
    assert done.err.startswith("WARN: cannot read")
    assert "sbx rm -f bad" in done.err
    assert sbx("rm", "-f", "bad").status == 0
    assert sbx("ls", "-q").err == ""


def test_sets_of_sandboxes_are_apart(sbx: Call, make_sandbox: MakeSandbox) -> None:
    make_sandbox("one")
    assert sbx("--app-name", "other", "ls", "-q").out == ""
    assert sbx("ls", "-q", "--app-name", "other").out == ""
