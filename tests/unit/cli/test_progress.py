# SPDX-License-Identifier: Apache-2.0
"""Progress: a redrawn line on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import os

import pytest

from sbx.cli.progress import LineProgress, PlainProgress, Steps
from sbx.system.progress import Silent


def test_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.begin("build\x1b[31m", total=10)
    progress.advance(5)
    progress.note("a package")
    progress.end()
    assert stream.getvalue() == "build\\x1b[31m ...\n✓ build\\x1b[31m\n"


def test_one_line_on_a_terminal_is_redrawn_at_a_bounded_rate() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin("build", total=1000)
    for done in range(1000):
        progress.advance(done)
    progress.end()
    drawn = stream.getvalue().count("\r")
    assert drawn < 500
    assert stream.getvalue().endswith("\r\x1b[K✓ build\n")
    assert stream.getvalue().count("\n") == 1


def test_a_line_shows_share_and_detail_and_fits() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin("build", total=4)
    progress._done, progress._detail = 2, "x" * 500  # pyright: ignore[reportPrivateUsage]
    progress._draw()  # pyright: ignore[reportPrivateUsage]
    last = stream.getvalue().rpartition("\r\x1b[K")[2]
    assert last.startswith("build  [##########          ] 50 %  xxx")
    assert len(last) == 79


def test_more_than_everything_is_everything() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.begin("build", total=2)
    progress._done = 3  # pyright: ignore[reportPrivateUsage]
    progress._draw()  # pyright: ignore[reportPrivateUsage]
    assert "100 %" in stream.getvalue()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(quiet=True) as progress:
        assert isinstance(progress, Silent)
        progress.begin("build")
        progress.end()
    assert capsys.readouterr().err == ""


def test_an_unfinished_line_is_taken_away_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")

    def fail() -> None:
        with Steps(quiet=False) as progress:
            assert isinstance(progress, LineProgress)
            progress.begin("build")
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        fail()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", stream)
    for term in ("dumb", ""):
        monkeypatch.setenv("TERM", term or "dumb")
        with Steps(quiet=False) as progress:
            assert isinstance(progress, PlainProgress)
    assert os.environ["TERM"] == "dumb"
