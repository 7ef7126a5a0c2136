# SPDX-License-Identifier: Apache-2.0
"""Messages from a hostile guest: every look-up is typed and bounded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.protocol import control, files, session
from sbx.protocol.fields import Fields, parse
from sbx.protocol.frames import FrameType, ProtocolError

PARSERS: list[Callable[[bytes], object]] = [
    control.parse_answer,
    control.parse_event,
    session.parse_failure,
    session.parse_exit,
    files.parse_facts,
    session.parse_credit,
    session.parse_stream,
    lambda payload: control.parse_ready(parse(payload)),
    lambda payload: control.parse_stats(parse(payload)),
    lambda payload: files.parse_entry(FrameType.ENTER, payload),
    lambda payload: files.parse_entry(FrameType.FILE, payload),
    lambda payload: files.parse_entry(FrameType.LINK, payload),
    lambda payload: files.parse_entry(FrameType.SKIPPED, payload),
]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"\xff\xfe",
        b"{" * 10,
        b'{"a":' * 5000,
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_message(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(payload)


def test_a_number_is_not_a_boolean() -> None:
    with pytest.raises(ProtocolError):
        Fields({"n": True}).integer("n", 0, 5)
    with pytest.raises(ProtocolError):
        Fields({"n": 1.0}).integer("n", 0, 5)
    with pytest.raises(ProtocolError):
        Fields({"n": 1}).flag("n")
    with pytest.raises(ProtocolError):
        Fields({"n": True}).number("n", 0, 5)


@pytest.mark.parametrize("value", [None, 5, "x" * 11, "a\0b", ["a"]])
def test_texts_are_bounded(value: object) -> None:
    with pytest.raises(ProtocolError):
        Fields({"t": value}).text("t", 10)


@pytest.mark.parametrize("value", ["!", "YQ", "YWFhYWFh", "a b=", 5])
def test_base64_is_strict(value: object) -> None:
    with pytest.raises(ProtocolError):
        Fields({"d": value}).data("d", 4)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "x" * 256, "a\0b", None])
def test_an_entry_has_a_single_name(name: object) -> None:
    import json

    payload = json.dumps({"name": name, "mode": 0o644, "mtime_ns": 0, "size": 0}).encode()
    with pytest.raises(ProtocolError):
        files.parse_entry(FrameType.FILE, payload)


@pytest.mark.parametrize("body", [b"{}", b'{"status":1,"signal":9}', b'{"status":256}'])
def test_an_exit_has_one_reason(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        session.parse_exit(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["id", "ok", "result", "error", "event", "text", "name", "mode", "size", "mtime_ns", "target",
     "kind", "code", "message", "status", "signal", "state", "attached", "generation", "kernel"]
)  # fmt: skip


@given(st.binary(max_size=200))
def test_no_parser_fails_in_another_way_on_bytes(payload: bytes) -> None:
    for parser in PARSERS:
        with contextlib.suppress(ProtocolError):
            parser(payload)


@pytest.mark.timeout(30)  # drawing nested examples takes seconds on a busy machine
@given(st.dictionaries(KEYS, JSON, max_size=10))
def test_no_parser_fails_in_another_way_on_messages(body: dict[str, object]) -> None:
    import json

    payload = json.dumps(body).encode()
    for parser in PARSERS:
        with contextlib.suppress(ProtocolError):
            parser(payload)
