# SPDX-License-Identifier: Apache-2.0
"""Questions: only a terminal is asked, and anything but yes is no."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.installation import ROOT
from tests.unit.cli.conftest import Call, MakeSandbox


def on_terminal(tmp_path: Path, answer: str, *args: str) -> tuple[int, str]:
    """Run `sbx ARGS` on a terminal of its own and type an answer."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        [sys.executable, "-m", "sbx", *args], env=env, cwd=tmp_path,
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as child:  # fmt: skip
        os.close(theirs)
        os.write(ours, answer.encode())
        text = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # EIO: the last one that had it open is gone
                break
            text += data
    os.close(ours)
    return child.returncode, text.decode()


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_yes_removes(tmp_path: Path, make_sandbox: MakeSandbox, sbx: Call, answer: str) -> None:
    make_sandbox("one")
    status, text = on_terminal(tmp_path, answer, "rm", "one")
    assert status == 0, text
    assert "Remove sandbox one" in text
    assert sbx("ls", "-q").out == ""


@pytest.mark.parametrize("answer", ["n\n", "\n", "yellow\n", "\x04"])
def test_anything_else_does_not(
    tmp_path: Path, make_sandbox: MakeSandbox, sbx: Call, answer: str
) -> None:
    make_sandbox("one")
    status, text = on_terminal(tmp_path, answer, "rm", "one")
    assert status == 1
    assert "ERROR: cancelled: nothing was changed" in text
    assert sbx("ls", "-q").out == "one\n"


def test_no_input_asks_nothing_even_on_a_terminal(
    tmp_path: Path, make_sandbox: MakeSandbox
) -> None:
    make_sandbox("one")
    status, text = on_terminal(tmp_path, "y\n", "rm", "one", "--no-input")
    assert status == 1
    assert "Run: sbx rm -f one" in text


def test_a_piped_yes_does_not_count(sbx: Call, make_sandbox: MakeSandbox) -> None:
    make_sandbox("one")
    done = sbx("rm", "one", stdin="y\n")
    assert done.status == 1
    assert done.err.startswith("ERROR: confirmation needed: Remove sandbox one")
    assert "  Run: sbx rm -f one" in done.err


@pytest.mark.parametrize(
    ("args", "instead"),
    [
        (["rm", "--all"], "sbx rm -f --all"),
        (["prune", "--filter", "until=1h"], "sbx prune -f --filter until=1h"),
        (["reset"], "sbx reset -f"),
        (["--app-name", "x", "reset"], "sbx --app-name x reset -f"),
    ],
)
def test_the_command_to_run_instead_is_complete(
    sbx: Call, make_sandbox: MakeSandbox, args: list[str], instead: str
) -> None:
    from datetime import UTC, datetime

    make_sandbox("one", stopped_at=datetime(2026, 1, 2, tzinfo=UTC))
    done = sbx(*args)
    assert done.status == 1
    assert f"  Run: {instead}\n" in done.err


def test_a_setting_turns_the_question_off(sbx: Call, make_sandbox: MakeSandbox) -> None:
    make_sandbox("one")
    assert sbx("settings", "set", "cli.confirmRemove", "false").status == 0
    assert sbx("rm", "one").status == 0


def test_a_missing_workspace_is_offered_on_a_terminal(tmp_path: Path) -> None:
    status, text = on_terminal(tmp_path, "n\n", "create", "shell", "new/folder")
    assert status == 1
    assert "new/folder is not there yet. Create it? [y/N]" in text
    assert not (tmp_path / "new").exists()
