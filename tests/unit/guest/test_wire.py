# SPDX-License-Identifier: Apache-2.0
"""The guest's frames and fields, and its own HMAC, against the host's."""

from __future__ import annotations

import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.guest import wire
from sbx.guest.hashes import hmac_sha256
from sbx.guest.launch import Command
from sbx.guest.place import Place
from sbx.guest.plan import Assembly
from sbx.protocol import frames


def test_both_sides_have_the_same_numbers() -> None:
    assert {kind.name: kind.value for kind in frames.FrameType} == {
        kind.name: getattr(wire, kind.name) for kind in frames.FrameType
    }
    for name in ("GENERATION", "CHUNK_BYTES", "WINDOW_BYTES", "MESSAGE_BYTES", "SMALL_BYTES"):
        assert getattr(wire, name) == getattr(frames, name)


@given(st.binary(max_size=64), st.binary(max_size=200))
def test_hmac(key: bytes, data: bytes) -> None:
    assert hmac_sha256(key, data) == hmac.digest(key, data, hashlib.sha256)


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_is_refused_or_kept_within_the_bound(pieces: list[bytes]) -> None:
    for limits in (wire.CONTROL_IN, wire.AUTH_IN, wire.OPEN_IN, wire.EXEC_IN, wire.TREE_IN):
        decoder = wire.Decoder(limits)
        with contextlib.suppress(wire.WireError):
            for piece in pieces:
                decoder.feed(piece)
                while (found := decoder.next()) is not None:
                    assert len(found[1]) <= limits[found[0]]
                assert decoder.pending <= max(limits.values()) + wire.HEADER.size


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"5", b'{"a":1,"a":1}', b'{"a":NaN}', b"\xff", b'{"a":' * 5000, b"[" * 99999],
)
def test_what_is_no_message(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.parse(payload)


@given(st.binary(max_size=100))
def test_parse_fails_in_one_way(payload: bytes) -> None:
    with contextlib.suppress(wire.WireError):
        wire.parse(payload)


ASSEMBLY: dict[str, object] = {
    "layers": ["layer0"],
    "data": "data",
    "user": "agent",
    "workdir": "/w",
    "mounts": [],
}


@pytest.mark.parametrize(
    "change",
    [
        {"layers": []},
        {"layers": ["x" * 21]},
        {"layers": "layer0"},
        {"data": None},
        {"workdir": "w"},
        {"workdir": "/a/../b"},
        {"env": {"A=B": "c"}},
        {"env": {"": "c"}},
        {"env": {"A": 5}},
        {"env": []},
        {"mounts": [{"index": 0, "target": "/w"}]},
        {"share": "s", "mounts": [{"index": 0, "target": "/"}]},
        {"share": "s", "mounts": [{"index": 0, "target": "//"}]},
        {"share": "s", "mounts": [{"index": 0, "target": "/proc/1"}]},
        {"share": "s", "mounts": [{"index": 0, "target": "/proc"}]},
        {"share": "s", "mounts": [{"index": 0, "target": "/a/../../b"}]},
        {"share": "s", "mounts": [{"index": 64, "target": "/a"}]},
        {"share": "s", "mounts": [{"index": 0, "target": "/a"}] * 65},
    ],
)
def test_what_is_no_assembly(change: dict[str, object]) -> None:
    Assembly(wire.Fields(ASSEMBLY))
    with pytest.raises(wire.WireError):
        Assembly(wire.Fields({**ASSEMBLY, **change}))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"argv": "sh"},
        {"argv": [5]},
        {"argv": ["a\0b"]},
        {"argv": ["a"], "tty": {"rows": -1, "cols": 1, "term": "x"}},
        {"argv": ["a"], "tty": {"rows": 1, "cols": 1}},
        {"argv": ["a"], "stdin": 1},
        {"argv": ["a"], "env": {"A": "b\0"}},
    ],
)
def test_what_is_no_command(body: dict[str, object]) -> None:
    with pytest.raises(wire.WireError):
        Command(wire.Fields(body), Place(-1))
