# SPDX-License-Identifier: Apache-2.0
"""Placeholders."""

from __future__ import annotations

import re

import pytest

from sbx.credential.placeholders import check_variable, make_placeholder
from sbx.errors import UserError


def test_a_placeholder_is_random() -> None:
    first, second = make_placeholder(), make_placeholder()
    assert first != second
    assert re.fullmatch(r"sbx-cs-[A-Za-z0-9]{16}", first)
    assert re.fullmatch(r"ghp_[A-Za-z0-9]{16}x", make_placeholder("ghp_{rand}x"))


@pytest.mark.parametrize(
    "text", ["short", "a" * 257, "with space {rand}", "line\nend {rand}", "ä{rand}"]
)
def test_forms_that_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        make_placeholder(text)


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "PATH", "LD_PRELOAD", "SBX_X", "HOME", "A=B", "A\n"]
)
def test_variables_that_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        check_variable(name)
    assert check_variable("MY_KEY") == "MY_KEY"
