# SPDX-License-Identifier: Apache-2.0
"""`sbx diagnose`: the shapes of its report."""

from __future__ import annotations

import json

import pytest

from sbx.cli.checks.model import Check, failed, passed, skipped, warned
from sbx.cli.commands import diagnose
from tests.unit.cli.conftest import Call

CHECKS = (
    Check(name="Good", section="One", find=lambda _w: passed("fine", detail="not shown")),
    Check(
        name="So so",
        section="One",
        find=lambda _w: warned("slow|", detail="a\n\x1b[2Jb", hint="Run: x"),
    ),
    Check(name="Later", section="Two", find=lambda _w: skipped("unknown", hint="Run: sbx setup")),
)
BAD = Check(name="Bad", section="Two", find=lambda _w: failed("broken", hint="Run: repair"))


def test_the_document(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "ALL", (*CHECKS, BAD))
    done = sbx("diagnose", "--json")
    document = json.loads(done.out)
    assert done.status == 1
    assert document["version"] == "1.0"
    assert document["summary"] == {"pass": 1, "warn": 1, "fail": 1, "skip": 1}
    assert document["checks"][3] == {
        "name": "Bad", "section": "Two", "status": "fail", "message": "broken", "detail": "",
        "hint": "Run: repair",
    }  # fmt: skip


def test_warnings_do_not_fail(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "ALL", CHECKS)
    done = sbx("diagnose")
    assert done.status == 0
    assert done.out == (
        "One\n"
        "  ✓ Good   fine\n"
        "  ! So so  slow|\n"
        "      a\n"
        "      \\x1b[2Jb\n"
        "      Run: x\n"
        "\n"
        "Two\n"
        "  - Later  unknown\n"
        "      Run: sbx setup\n"
        "\n"
        "1 passed, 1 warnings, 0 failed, 1 skipped\n"
    )


@pytest.mark.parametrize("flag", [["-o", "github-issue"], ["--format", "github-issue"]])
def test_an_issue_is_markdown_without_the_home_folder(
    sbx: Call, monkeypatch: pytest.MonkeyPatch, flag: list[str]
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    path = Check(
        name="P",
        section="S",
        find=lambda _w: warned("at `/home/somebody/x`", detail="/home/somebody"),
    )
    monkeypatch.setattr(diagnose, "ALL", (*CHECKS, path))
    done = sbx("diagnose", *flag)
    assert done.status == 0
    assert "| So so | warn | slow\\| |" in done.out
    assert "```\na\n\\x1b[2Jb\n```" in done.out
    assert "somebody" not in done.out
    assert "| P | warn | at `~/x` |" in done.out
