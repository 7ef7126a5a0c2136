# SPDX-License-Identifier: Apache-2.0
"""The keys that leave a session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.agent.detach_keys import DEFAULT_DETACH_KEYS, DetachMatcher, parse_detach_keys
from sbx.errors import UserError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (DEFAULT_DETACH_KEYS, b"\x10\x11"),
        ("ctrl-a", b"\x01"),
        ("CTRL-Z,x", b"\x1ax"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("a,b", b"ab"),
        ("", b""),
    ],
)
def test_parse(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,", ",", "é", "alt-x"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(UserError, match="invalid detach keys"):
        parse_detach_keys(text)


def test_the_start_of_the_keys_is_held_back_and_then_passed_on() -> None:
    matcher = DetachMatcher(b"\x10\x11")
    assert matcher.feed(b"a\x10") == (b"a", False)
    assert matcher.feed(b"b") == (b"\x10b", False)
    assert matcher.feed(b"\x10\x10") == (b"\x10", False)
    assert matcher.feed(b"\x11rest") == (b"", True)


def test_without_keys_everything_passes() -> None:
    assert DetachMatcher(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


@given(
    keys=st.binary(min_size=1, max_size=4).map(lambda b: bytes(x % 3 for x in b)),
    typed=st.lists(st.binary(max_size=6).map(lambda b: bytes(x % 3 for x in b)), max_size=10),
)
def test_it_finds_what_a_search_finds(keys: bytes, typed: list[bytes]) -> None:
    matcher, passed, found = DetachMatcher(keys), b"", False
    for data in typed:
        out, found = matcher.feed(data)
        passed += out
        if found:
            break
    everything = b"".join(typed)
    position = everything.find(keys)
    assert found == (position >= 0)
    if found:
        assert passed == everything[:position]
    else:
        assert everything.startswith(passed)
        assert keys.startswith(everything[len(passed) :])
