# SPDX-License-Identifier: Apache-2.0
"""`sbx login` and `logout`: no account, and a posture that is chosen once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.policy.presets import Preset
from sbx.store.paths import POLICY, Paths
from sbx.store.rules import need_policy
from tests.unit.cli.conftest import Call
from tests.unit.cli.test_prompt import on_terminal


@pytest.mark.parametrize(
    ("word", "preset"),
    [("open", Preset.ALLOW_ALL), ("balanced", Preset.BALANCED), ("locked-down", Preset.DENY_ALL)],
)
def test_choosing(sbx: Call, where: Paths, word: str, preset: Preset) -> None:
    done = sbx("login", "--policy", word)
    assert done.status == 0
    assert done.out.endswith(f"Network policy: {preset.posture} ({preset.value})\n")
    assert need_policy(where).preset is preset
    assert sbx("login", "--policy", word).status == 0
    assert sbx("login", "--json").json() == {
        "account": None, "policy": preset.value, "posture": preset.posture, "registries": [],
    }  # fmt: skip


def test_another_one_is_not_put_in_its_place(sbx: Call, where: Paths) -> None:
    sbx("login", "--policy", "locked-down")
    done = sbx("login", "--policy", "open")
    assert done.status == 1
    assert "sbx policy reset" in done.err
    assert need_policy(where).preset is Preset.DENY_ALL


def test_without_a_terminal_it_succeeds_and_chooses_nothing(sbx: Call, where: Paths) -> None:
    done = sbx("login")
    assert done.status == 0
    assert "none chosen, everything is denied" in done.out
    assert not (where.config / POLICY).exists()


@pytest.mark.parametrize(
    ("answer", "preset"),
    [("1\n", Preset.ALLOW_ALL), ("\n", Preset.BALANCED), ("9\nlocked down\n", Preset.DENY_ALL)],
)
def test_a_terminal_is_asked(
    sbx: Call, where: Paths, tmp_path: Path, answer: str, preset: Preset
) -> None:
    status, text = on_terminal(tmp_path, answer, "login")
    assert status == 0, text
    assert "1. Open" in text
    assert "3. Locked Down" in text
    assert need_policy(where).preset is preset
    status, text = on_terminal(tmp_path, "", "login")
    assert (status, "Choose" in text) == (0, False)


@pytest.mark.parametrize("answer", ["\x04", "x\ny\nz\n"])
def test_no_answer_chooses_nothing(where: Paths, tmp_path: Path, answer: str) -> None:
    status, text = on_terminal(tmp_path, answer, "login")
    assert status == 1
    assert "no network policy was chosen" in text
    assert not (where.config / POLICY).exists()


def test_no_input_on_a_terminal(where: Paths, tmp_path: Path) -> None:
    status, text = on_terminal(tmp_path, "1\n", "login", "--no-input")
    assert (status, "Choose" in text) == (0, False)
    assert not (where.config / POLICY).exists()


@pytest.mark.parametrize("flag", [[], ["-f"], ["-y"]])
def test_logging_out_succeeds(sbx: Call, flag: list[str]) -> None:
    assert sbx("logout", *flag).status == 0
    assert sbx("logout", *flag, "--json").json() == {"account": None, "registries": []}


@pytest.mark.parametrize(
    "args",
    [
        ("--username", "me"),
        ("--password-stdin",),
        ("--device", "--password-stdin", "--username", "me"),
        ("--registry", "ghcr.io"),
        ("--issuer", "https://x.test"),
        ("--device",),
        ("--username", "a:b", "--password-stdin"),
    ],
)
def test_half_a_login_is_refused(sbx: Call, where: Paths, args: tuple[str, ...]) -> None:
    assert sbx("login", *args, stdin="x").status == 1
    assert not (where.config / "secrets.json").exists()
