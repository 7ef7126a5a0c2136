# SPDX-License-Identifier: Apache-2.0
"""Values of credentials."""

from __future__ import annotations

import pickle

import pytest

from sbx.credential.values import MAX_VALUE, Value, check_value, mask
from sbx.errors import UserError


def test_no_form_of_a_value_shows_it() -> None:
    value = Value("sk-ant-canary-0123456789")
    assert "canary" not in f"{value} {value!r} {[value]!r} { ({'a': value})!s}"
    with pytest.raises(TypeError):
        pickle.dumps(value)
    assert value.reveal() == "sk-ant-canary-0123456789"


@pytest.mark.parametrize(
    "text", ["", "  ", "a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\x7fb", " ab", "ab ", "é", "a\tb"]
)
def test_what_could_be_something_else_is_refused(text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_value(text)
    assert text.strip() == "" or text.strip() not in str(caught.value)


def test_one_line_end_is_not_part_of_a_value() -> None:
    assert check_value("key\n").reveal() == check_value("key\r\n").reveal() == "key"
    with pytest.raises(UserError):
        check_value("k" * (MAX_VALUE + 1))


def test_a_mask_gives_little_away() -> None:
    assert mask(Value("gho_GCaw4o" + "x" * 26 + "43qy")) == "gho_GCaw4o****...****43qy"
    assert mask(Value("short-secret")) == "****"
    assert mask(Value("abcdefghijklmnopqrst")) == "abcde****...****qrst"
