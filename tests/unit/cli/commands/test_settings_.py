# SPDX-License-Identifier: Apache-2.0
"""`sbx settings`."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Call


def test_a_value_is_printed_bare(sbx: Call) -> None:
    assert sbx("settings", "get", "machine.accel").out == "auto\n"
    assert sbx("settings", "set", "machine.accel", "tcg").status == 0
    assert sbx("settings", "get", "MACHINE.ACCEL").out == "tcg\n"
    assert sbx("settings", "get", "cli.confirmRemove").out == "true\n"
    assert sbx("settings", "unset", "machine.accel").status == 0
    assert sbx("settings", "get", "machine.accel").out == "auto\n"


def test_rows_have_the_keys_of_the_contract(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBX_ACCEL", "kvm")
    rows = json.loads(sbx("settings", "list", "--json").out)
    (row,) = [row for row in rows if row["key"] == "machine.accel"]
    assert row == {
        "key": "machine.accel",
        "value": "kvm",
        "type": "string",
        "source": "envvar",
        "description": "Who runs the guest's instructions, for new sandboxes",
        "default": "auto",
        "env_var": "SBX_ACCEL",
        "feature_flag": "",
        "requires_restart": False,
    }


def test_a_stored_value_that_a_variable_hides_is_a_warning(
    sbx: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBX_ACCEL", "kvm")
    assert "WARN: SBX_ACCEL is set and wins" in sbx("settings", "set", "machine.accel", "tcg").err


def test_descriptions_are_shortened_unless_told_otherwise(sbx: Call) -> None:
    assert "…" in sbx("settings", "ls").out
    assert "…" not in sbx("settings", "ls", "--no-trunc").out


def test_the_name_as_a_group_shows_help(sbx: Call) -> None:
    done = sbx("settings", "--help")
    assert done.status == 0
    assert "unset" in done.out
