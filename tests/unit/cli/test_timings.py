# SPDX-License-Identifier: Apache-2.0
"""The waterfall of a start, from the events of a log."""

from __future__ import annotations

from sbx.cli.timings import Bar, last_start, render

AT = "2026-01-31T12:00:01.250000+00:00"
BEGAN = 1769860801.0  # 0.25 s before the first event was written

EVENTS: list[dict[str, object]] = [
    {"event": "started", "at": "2026-01-30T12:00:00+00:00", "since_s": 0.1},
    {"event": "phase", "at": AT, "since_s": 9.0, "taken_s": 8.0, "phase": "boot"},
    {"event": "ended", "at": AT, "since_s": 20.0},
    {"event": "started", "at": AT, "since_s": 0.05},
    {"event": "phase", "at": AT, "since_s": 0.4, "taken_s": 0.1, "phase": "memory"},
    {"event": "phase", "at": AT, "since_s": 0.35, "taken_s": 0.25, "phase": "network"},
    {"event": "ready", "at": AT, "since_s": 0.8},
    {"event": "phase", "at": AT, "since_s": 1.0, "taken_s": 0.1, "phase": "later"},
]


def rounded(bars: list[Bar]) -> list[tuple[str, float, float]]:
    return [(bar.name, round(bar.begin_s, 3), round(bar.end_s, 3)) for bar in bars]


def test_the_newest_start_in_the_order_of_its_beginnings() -> None:
    assert rounded(last_start(EVENTS, began=BEGAN)) == [
        ("command line", 0.0, 0.2),
        ("supervisor", 0.2, 0.25),
        ("network", 0.3, 0.55),
        ("memory", 0.5, 0.6),
        ("ready", 1.0, 1.0),
    ]


def test_a_sandbox_that_was_up_before_us_has_no_lead() -> None:
    assert last_start(EVENTS, began=BEGAN + 60)[0].end_s == 0.0


def test_bars_stand_where_the_time_was() -> None:
    lines = render([Bar(name="a", begin_s=0, end_s=1), Bar(name="\x1bb", begin_s=1, end_s=2)])
    assert lines[1].split("|")[1] == "#" * 20
    assert lines[2].split("|")[1] == " " * 20 + "#" * 20
    assert "\x1b" not in lines[2]
    assert render([]) == lines[:1]
