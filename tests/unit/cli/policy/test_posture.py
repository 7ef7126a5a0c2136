# SPDX-License-Identifier: Apache-2.0
"""`sbx policy init|set-default|reset`: a posture is chosen once."""

from __future__ import annotations

import json

import pytest

from sbx.cli.app import App
from sbx.cli.policy.first_run import ensure_posture
from sbx.policy.presets import Preset
from sbx.store.paths import Paths
from sbx.store.rules import read_policy
from tests.unit.cli.conftest import Call, MakeSandbox


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize("verb", ["init", "set-default"])
def test_choosing(sbx: Call, where: Paths, preset: Preset, verb: str) -> None:
    done = sbx("policy", verb, preset.value)
    assert (done.status, done.out) == (
        0,
        f'Global network policy initialized to "{preset.value}".\n',
    )
    assert done.err.startswith(f"{preset.posture}: ")
    found = read_policy(where)
    assert found is not None
    assert found.preset is preset


def test_once(sbx: Call, where: Paths) -> None:
    sbx("policy", "init", "deny-all")
    again = sbx("policy", "init", "allow-all")
    assert again.status == 1
    assert 'a global network policy is already set: "deny-all"' in again.err
    assert "sbx policy reset" in again.err
    found = read_policy(where)
    assert found is not None
    assert found.preset is Preset.DENY_ALL


def test_json(sbx: Call) -> None:
    assert json.loads(sbx("policy", "init", "balanced", "--no-mirrors", "--json").out) == {
        "action": "initialized", "preset": "balanced", "posture": "Balanced", "added": [],
    }  # fmt: skip


def test_a_posture_that_is_none(sbx: Call) -> None:
    done = sbx("policy", "init", "open")
    assert done.status == 1
    assert "allow-all" in done.err


def test_reset(sbx: Call, where: Paths) -> None:
    sbx("policy", "init", "balanced")
    asked = sbx("policy", "reset")
    assert asked.status == 1
    assert "Run: sbx policy reset -f" in asked.err
    assert read_policy(where) is not None
    assert sbx("policy", "reset", "-f").out == "✓ Network policy removed\n"
    assert read_policy(where) is None
    assert json.loads(sbx("policy", "reset", "-f", "--json").out)["action"] == "unchanged"
    assert sbx("policy", "init", "deny-all").status == 0


def test_the_users_own_indexes_come_with_balanced(
    sbx: Call, where: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:word@10.0.0.9:8443/simple")
    done = sbx("policy", "init", "balanced")
    assert "10.0.0.9:8443 (the settings of pip name it: PIP_INDEX_URL)" in done.err
    assert "word" not in done.err
    rules = {row["name"]: row for row in json.loads(sbx("policy", "ls", "--json").out)["rules"]}
    assert rules["mirror-pip"]["provenance"] == {"created_via": "default"}
    assert sbx("policy", "check", "network", "10.0.0.9:8443").status == 0
    assert sbx("policy", "rm", "network", "-f", "--id", "mirror-pip").status == 0
    assert sbx("policy", "check", "network", "10.0.0.9:8443").status == 1


@pytest.mark.parametrize("words", [["allow-all"], ["deny-all"], ["balanced", "--no-mirrors"]])
def test_they_do_not_come_otherwise(
    sbx: Call, where: Paths, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://10.0.0.9:8443/simple")
    sbx("policy", "init", *words)
    found = read_policy(where)
    assert found is not None
    assert found.added == ()


def test_a_sandbox_comes_up_closed_when_nobody_can_be_asked(
    sbx: Call, where: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_posture(App())
    err = capsys.readouterr().err
    assert err.startswith("WARN: global network policy has not been initialized")
    assert "sbx policy init" in err
    assert read_policy(where) is None
    sbx("policy", "init", "deny-all")
    ensure_posture(App())
    assert capsys.readouterr().err == ""


def test_denials_at_creation_need_a_posture(sbx: Call, where: Paths) -> None:
    done = sbx("create", "shell", "--name", "one", "--deny-network", "a.com", "-q")
    assert done.status == 1
    assert "ERROR: global network policy has not been initialized" in done.err
    assert not (where.sandbox("one")).exists()


def test_denials_at_creation_are_checked_first(sbx: Call, where: Paths) -> None:
    done = sbx("create", "shell", "--name", "one", "--deny-network", "a.com,*")
    assert (done.status, done.out) == (1, "")
    assert "a bare `*` is not accepted" in done.err


def test_denials_are_not_added_to_a_sandbox_that_is_there(
    sbx: Call, make_sandbox: MakeSandbox
) -> None:
    make_sandbox("one")
    done = sbx("run", "--name", "one", "--deny-network", "a.com")
    assert done.status == 1
    assert "Run: sbx policy deny network --sandbox one a.com" in done.err


def test_rules_are_completed(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    sbx("policy", "init", "deny-all")
    sbx("policy", "allow", "network", "a.com")
    monkeypatch.setenv("COMP_WORDS", "sbx policy inspect al")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_SBX_COMPLETE", "bash_complete")
    assert sbx().out == "plain,allow-a.com\n"
