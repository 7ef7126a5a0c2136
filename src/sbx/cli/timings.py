# SPDX-License-Identifier: Apache-2.0
"""`--timings`: where the time of a start went, as a waterfall from the sandbox's own event log."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from sbx.cli.app import App
from sbx.cli.output import clean, talk
from sbx.store import paths as names

VARIABLE = "SBX_TIMINGS"
_CELLS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step: when it began and ended, in seconds since the command was started."""

    name: str
    begin_s: float
    end_s: float


def show(app: App, name: str) -> None:
    """Print the waterfall of the last start, if it was asked for."""
    if not (app.timings or os.environ.get(VARIABLE, "0") not in ("", "0")):
        return
    with contextlib.suppress(OSError, ValueError, KeyError):  # a log that is cut off
        lines = (app.paths.sandbox(name) / names.EVENTS).read_text(encoding="utf-8").splitlines()
        for line in render(last_start([json.loads(each) for each in lines], began=_our_start())):
            talk(line)


def last_start(events: list[dict[str, object]], *, began: float) -> list[Bar]:
    """The steps of the newest start in a log; `began` is when the command started (Unix time)."""
    first = max(i for i, event in enumerate(events) if event["event"] == "started")
    started = events[first]
    at = datetime.fromisoformat(str(started["at"])).timestamp() - _seconds(started, "since_s")
    # A sandbox that somebody else has started has no beginning of ours.
    lead_s = max(at - began, 0.0)
    bars = [Bar(name="command line", begin_s=0.0, end_s=lead_s)]
    bars.append(Bar(name="supervisor", begin_s=lead_s, end_s=lead_s + _seconds(started, "since_s")))
    for event in events[first + 1 :]:
        end_s = lead_s + _seconds(event, "since_s")
        if event["event"] == "phase":
            begin_s = end_s - _seconds(event, "taken_s")
            bars.append(Bar(name=str(event["phase"]), begin_s=begin_s, end_s=end_s))
        if event["event"] == "ready":
            bars.append(Bar(name="ready", begin_s=end_s, end_s=end_s))
            break
    return sorted(bars, key=lambda bar: (bar.begin_s, bar.end_s))


def render(bars: list[Bar]) -> list[str]:
    """The lines of the waterfall."""
    total_s = max((bar.end_s for bar in bars), default=0.0) or 1.0
    lines = [f"{'phase':14} {'from':>7} {'took':>7}"]
    for bar in bars:
        left = int(bar.begin_s / total_s * _CELLS)
        width = max(round((bar.end_s - bar.begin_s) / total_s * _CELLS), 1)
        took = f"{bar.end_s - bar.begin_s:7.3f}"
        lines.append(
            f"{clean(bar.name):14} {bar.begin_s:7.3f} {took} |{' ' * left}{'#' * width}"[:79]
        )
    return lines


def _seconds(event: dict[str, object], key: str) -> float:
    return float(cast("float", event[key]))


def _our_start() -> float:
    """When this process was started (Unix time): proc_pid_stat(5), field 22, since the boot."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s
