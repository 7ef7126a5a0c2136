# SPDX-License-Identifier: Apache-2.0
"""Frames: bounds, pieces and garbage."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.protocol.frames import (
    CONTROL_IN,
    EXEC_IN,
    HEADER,
    TREE_IN,
    FrameDecoder,
    FrameType,
    ProtocolError,
    encode_frame,
)

LIMITS = {FrameType.STDOUT: 100, FrameType.EXIT: 10}


def test_a_type_outside_the_table_is_refused_by_its_header() -> None:
    decoder = FrameDecoder(LIMITS)
    decoder.feed(HEADER.pack(FrameType.STDIN, 4))
    with pytest.raises(ProtocolError, match="not allowed"):
        decoder.next()


def test_an_unknown_type_is_refused() -> None:
    decoder = FrameDecoder(LIMITS)
    decoder.feed(HEADER.pack(0xEE, 0))
    with pytest.raises(ProtocolError, match="not allowed"):
        decoder.next()


@pytest.mark.parametrize("length", [11, 0xFFFFFFFF])
def test_a_long_payload_is_refused_before_it_comes(length: int) -> None:
    decoder = FrameDecoder(LIMITS)
    decoder.feed(HEADER.pack(FrameType.EXIT, length))
    with pytest.raises(ProtocolError, match="too long"):
        decoder.next()


def test_limits_can_change_between_frames() -> None:
    decoder = FrameDecoder({FrameType.STARTED: 10})
    decoder.feed(encode_frame(FrameType.STARTED) + encode_frame(FrameType.STDOUT, b"x"))
    assert decoder.next() == (FrameType.STARTED, b"")
    decoder.limits = LIMITS
    assert decoder.next() == (FrameType.STDOUT, b"x")


@given(
    frames=st.lists(st.binary(max_size=100), max_size=8),
    cuts=st.lists(st.integers(min_value=1, max_value=50), max_size=20),
)
def test_any_cut_gives_the_same_frames(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(encode_frame(FrameType.STDOUT, payload) for payload in frames)
    decoder, found = FrameDecoder(LIMITS), list[bytes]()
    for size in [*cuts, len(data)]:
        piece, data = data[:size], data[size:]
        decoder.feed(piece)
        found += [payload for _kind, payload in decoder]
    assert found == frames


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_is_refused_or_kept_within_the_bound(pieces: list[bytes]) -> None:
    for limits in (CONTROL_IN, EXEC_IN, TREE_IN, LIMITS):
        decoder = FrameDecoder(limits)
        with contextlib.suppress(ProtocolError):
            for piece in pieces:
                decoder.feed(piece)
                for kind, payload in decoder:
                    assert len(payload) <= limits[kind]
                assert decoder.pending <= max(limits.values()) + HEADER.size
