# SPDX-License-Identifier: Apache-2.0
"""Completion: the scripts, and what they are answered."""

from __future__ import annotations

import subprocess

import pytest

from sbx.cli.completion import SHELLS
from tests.unit.cli.conftest import Call, MakeSandbox


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_that_calls_us(sbx: Call, shell: str) -> None:
    done = sbx("completion", shell)
    assert done.status == 0
    assert "_SBX_COMPLETE" in done.out
    assert f"{shell}_complete" in done.out


def test_the_script_is_one_of_bash(sbx: Call) -> None:
    script = sbx("completion", "bash").out
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def ask(sbx: Call, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    monkeypatch.setenv("_SBX_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(("sbx", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    return [line.partition(",")[2] for line in sbx().out.splitlines()]


def test_commands_flags_names_and_keys_are_completed(
    sbx: Call, monkeypatch: pytest.MonkeyPatch, make_sandbox: MakeSandbox
) -> None:
    make_sandbox("shell-app")
    make_sandbox("other")
    assert ask(sbx, monkeypatch, "se") == ["secret", "settings", "setup"]
    assert ask(sbx, monkeypatch, "rm", "sh") == ["shell-app"]
    assert ask(sbx, monkeypatch, "rm", "--fo") == ["--force", "--format"]
    assert ask(sbx, monkeypatch, "settings", "get", "machine") == ["machine.accel"]


def test_powershell_is_answered_with_help(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SBX_COMPLETE", "powershell_complete")
    monkeypatch.setenv("COMP_WORDS", "sbx inspe")
    monkeypatch.setenv("COMP_WORD", "inspe")
    assert sbx().out == "inspect\tShow everything about a sandbox\n"


def test_an_unknown_shell_is_refused(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SBX_COMPLETE", "tcsh_complete")
    assert sbx().status == 1
