# SPDX-License-Identifier: Apache-2.0
"""Values are taken out of what comes back."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.credential.binding import Binding
from sbx.credential.places import Place, Style
from sbx.credential.scrub import Needles, Scrubber, needles
from tests.unit.credential.factories import PLACEHOLDER, REAL, custom, grant

_VALUE = 'k"y/+ <&>=aab'


def _scrub(found: Scrubber, pieces: list[bytes]) -> bytes:
    return b"".join(found.feed(piece) for piece in pieces) + found.finish()


@given(cuts=st.lists(st.integers(0, 200), max_size=12), times=st.integers(1, 4))
def test_a_value_is_found_across_any_borders(cuts: list[int], times: int) -> None:
    text = (b"<" + REAL.encode() + b">" + REAL.encode()[:9]) * times
    points = sorted({0, len(text), *(min(c, len(text)) for c in cuts)})
    pieces = [text[a:b] for a, b in pairwise(points)]
    clean = _scrub(Scrubber(needles([grant(custom("a.test"))])), pieces)
    assert clean == (b"<" + PLACEHOLDER.encode() + b">" + REAL.encode()[:9]) * times


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_other_bytes_pass_unchanged(data: bytes, cut: int) -> None:
    if REAL.encode() not in data:
        scrubber = Scrubber(needles([grant(custom("a.test"))]))
        assert _scrub(scrubber, [data[:cut], data[cut:]]) == data


@given(
    text=st.text(alphabet="abk", max_size=60), value=st.text(alphabet="ab", min_size=4, max_size=8)
)
def test_pieces_of_one_byte_hide_nothing(text: str, value: str) -> None:
    """Values that repeat in themselves, byte by byte: what is left is what a whole look leaves."""
    found = needles([grant(custom("a.test"), value)])
    whole = Scrubber(found).text(text.encode())
    one_by_one = _scrub(Scrubber(found), [bytes([b]) for b in text.encode()])
    assert value.encode() not in one_by_one
    assert len(one_by_one) == len(whole)


@pytest.mark.parametrize(
    "spelled",
    [
        _VALUE,
        base64.b64encode(_VALUE.encode()).decode(),
        quote(_VALUE, safe=""),
        json.dumps(_VALUE),
        json.dumps({"x": _VALUE}).replace("/", "\\/"),
        _VALUE.encode().hex(),
    ],
)
def test_usual_spellings_are_found(spelled: str) -> None:
    scrubber = Scrubber(needles([grant(custom("a.test"), _VALUE)]))
    clean = scrubber.text(spelled.encode())
    assert scrubber.count == 1
    assert _VALUE.encode() not in clean


def test_the_pair_of_a_basic_header_is_found() -> None:
    place = Place(hosts=("g.test",), style=Style.BASIC, username="x-access-token")
    scrubber = Scrubber(needles([grant(Binding(id="g", name="g", places=(place,)))]))
    header = base64.b64encode(b"x-access-token:" + REAL.encode())
    assert scrubber.text(b"Basic " + header) == b"Basic " + base64.b64encode(
        b"x-access-token:proxy-managed"
    )


def test_nothing_is_held_up_that_begins_no_value() -> None:
    scrubber = Scrubber(needles([grant(custom("a.test"))]))
    assert scrubber.feed(b"data: x\n\n") == b"data: x\n\n"
    assert scrubber.feed(b"data: sk-re") == b"data: "
    assert scrubber.feed(b"d\n\n") == b"sk-red\n\n"


def test_lengths_can_be_kept() -> None:
    found = needles([grant(custom("a.test"))]).same_length()
    assert all(len(what) == len(stand_in) for what, stand_in in found.stand_ins.items())
    assert Scrubber(found).text(REAL.encode()) == PLACEHOLDER.encode() + b"*" * (
        len(REAL) - len(PLACEHOLDER)
    )


def test_without_credentials_nothing_is_looked_for() -> None:
    scrubber = Scrubber(Needles(()))
    assert scrubber.feed(b"x") + scrubber.finish() + scrubber.text(b"y") == b"xy"
