# SPDX-License-Identifier: Apache-2.0
"""Tables, documents and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sbx.cli.app import Format
from sbx.cli.output import Json, dump, duration, table, timestamp

DATA: Json = [
    {"name": "a\x1b[31m", "path": "/\udcff", "none": None, "flag": True, "n": 1.5, "list": []}
]


def test_columns_are_two_spaces_apart_and_nothing_trails() -> None:
    text = table(("SANDBOX", "STATUS", "X"), [["a", "running", ""], ["longer-name", "stopped", ""]])
    assert text == "SANDBOX      STATUS   X\na            running\nlonger-name  stopped"


def test_cells_cannot_steer_the_terminal() -> None:
    assert table(("A",), [["\x1b[2J\r\n\u202ex"]]) == "A\n\\x1b[2J\\x0d\\x0a\\u202ex"


@pytest.mark.parametrize("form", [Format.JSON, Format.YAML])
def test_documents_are_ascii_and_say_the_same(form: Format) -> None:
    text = dump(DATA, form)
    assert text.isascii()
    assert "\x1b" not in text
    assert not text.endswith("\n")


@given(value=st.lists(st.none() | st.booleans() | st.integers() | st.text()))
def test_yaml_is_read_back_as_it_was(value: list[bool | int | str | None]) -> None:
    assert yaml.safe_load(dump({"value": value}, Format.YAML)) == {"value": value}


def test_yaml_of_a_bare_value_has_no_end_mark() -> None:
    assert dump("x", Format.YAML) == "x"


def test_times_are_rfc_3339_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)) == "2026-01-02T01:04:05Z"
    assert (
        timestamp(datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)) == "2026-01-02T03:04:05.000600Z"
    )
    assert timestamp(None) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (42.9, "42s"), (60, "1m"), (303, "5m 3s"), (7200, "2h"), (7800, "2h 10m"),
     (7201, "2h"), (273600, "3d 4h")],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text
