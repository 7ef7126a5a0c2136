# SPDX-License-Identifier: Apache-2.0
"""`sbx policy init|set-default|reset`: a posture is chosen once."""

from __future__ import annotations

import json

import pytest

from sbx.policy.presets import Preset
from sbx.store.paths import Paths
from sbx.store.rules import read_policy
from tests.unit.cli.conftest import Call


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
    assert json.loads(sbx("policy", "init", "balanced", "--json").out) == {
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
