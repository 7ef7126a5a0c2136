# SPDX-License-Identifier: Apache-2.0
"""Processors that are brought on line by the agent."""

from __future__ import annotations

from pathlib import Path

from sbx.guest.processors import rehearse_processors, wake_processors


def test_only_those_that_are_off_line_are_woken(tmp_path: Path) -> None:
    for name in ("cpu0", "cpu1", "cpu2", "cpu10", "cpufreq", "cpuidle"):
        (tmp_path / name).mkdir()
    for name, state in (("cpu1", "0\n"), ("cpu2", "1\n"), ("cpu10", "0\n"), ("cpuidle", "0\n")):
        (tmp_path / name / "online").write_text(state)
    assert wake_processors(str(tmp_path)) == ["cpu1", "cpu10"]
    assert [(tmp_path / f"cpu{n}" / "online").read_text()[0] for n in (1, 2, 10)] == list("111")
    assert (tmp_path / "cpuidle" / "online").read_text() == "0\n"
    assert wake_processors(str(tmp_path)) == []


def test_a_rehearsal_leaves_everything_as_it_was(tmp_path: Path) -> None:
    for name, state in (("cpu1", "0\n"), ("cpu2", "1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "online").write_text(state)
    rehearse_processors(str(tmp_path))
    assert [(tmp_path / f"cpu{n}" / "online").read_text()[0] for n in (1, 2)] == list("01")
