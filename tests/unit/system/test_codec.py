# SPDX-License-Identifier: Apache-2.0
"""Typed JSON: round trips, and strictness about everything that does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.system import codec


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    path: Path
    count: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    text: str
    flag: bool
    ratio: float
    when: datetime
    colour: Colour
    inner: Inner
    more: tuple[Inner, ...]
    env: dict[str, str]
    note: str | None = None


OUTER = Outer(
    text='new\nline "ü"',
    flag=True,
    ratio=0.5,
    when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    colour=Colour.BLUE,
    inner=Inner(path=Path("/a b")),
    more=(Inner(path=Path("/x"), count=1), Inner(path=Path("/y"))),
    env={"A": "1"},
)


def as_dict() -> dict[str, codec.Json]:
    value = codec.to_json(OUTER)
    assert isinstance(value, dict)
    return value


def test_a_value_survives_the_round_trip() -> None:
    assert codec.loads(Outer, codec.dumps(OUTER)) == OUTER


@given(st.text(), st.dictionaries(st.text(), st.text()), st.floats(allow_nan=False))
def test_any_text_survives(text: str, env: dict[str, str], ratio: float) -> None:
    value = Outer(
        text=text,
        flag=False,
        ratio=ratio,
        when=OUTER.when,
        colour=Colour.RED,
        inner=OUTER.inner,
        more=(),
        env=env,
        note=text,
    )
    assert codec.loads(Outer, codec.dumps(value)) == value


def test_times_are_written_in_utc_as_rfc_3339() -> None:
    assert as_dict()["when"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("text", 1, "$.text: expected str, found int"),
        ("flag", 1, "$.flag: expected bool, found int"),
        ("inner", {"path": "/a", "count": True}, "$.inner.count: expected int, found bool"),
        ("colour", "green", "$.colour"),
        ("when", "yesterday", "$.when"),
        ("more", [{"path": 4}], "$.more[0].path: expected str, found int"),
        ("more", {}, "$.more: expected list, found dict"),
        ("env", {"A": None}, "$.env.A: expected str, found NoneType"),
        ("inner", {"path": "/a", "cuont": 1}, "$.inner: unknown key `cuont`"),
        ("inner", {}, "$.inner: missing key `path`"),
        ("text", None, "$.text: expected str, found NoneType"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where(key: str, value: object, where: str) -> None:
    with pytest.raises(codec.CodecError) as caught:
        codec.from_json(Outer, {**as_dict(), key: value})
    assert str(caught.value).startswith(where)


def test_defaults_stand_in_for_missing_keys() -> None:
    data = as_dict()
    del data["note"]
    assert codec.from_json(Outer, data).note is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1", b"nul"])
def test_text_that_is_not_json_is_an_error(data: bytes) -> None:
    with pytest.raises(codec.CodecError, match="not JSON"):
        codec.loads(Outer, data)


def test_a_type_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON form for object"):
        codec.to_json(object())
