# SPDX-License-Identifier: Apache-2.0
"""Names of sandboxes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import UserError
from sbx.sandbox.name import check_name, default_name, free_name


@pytest.mark.parametrize("name", ["ab", "a-b", "shell-app.v2", "0x", "A" * 63, "Default"])
def test_valid_names_are_returned(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "A" * 64,
        "-ab",
        ".ab",
        "ab-",
        "ab.",
        "a_b",
        "a b",
        "a/b",
        "..",
        "ab\n",
        "äb",
        "a\x1b[31m",
    ],
)
def test_invalid_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(UserError, match="invalid sandbox name") as caught:
        check_name(name)
    assert caught.value.hint is not None
    assert "2 to 63" in caught.value.hint


def test_the_reserved_name_says_so() -> None:
    with pytest.raises(UserError, match="reserved"):
        check_name("default")


@pytest.mark.parametrize(
    ("workspace", "name"),
    [
        (Path("/home/me/app"), "shell-app"),
        (Path("/home/me/my_app"), "shell-my-app"),
        (Path("/home/me/.hidden"), "shell-hidden"),
        (Path("/home/me/my app (2)"), "shell-my-app-2"),
        (Path("/"), "shell"),
        (Path("/home/me/___"), "shell"),
        (None, "shell"),
        (Path("/x") / ("n" * 90), "shell-" + "n" * 57),
    ],
)
def test_default_names(workspace: Path | None, name: str) -> None:
    assert default_name("shell", workspace) == name


@given(agent=st.text(min_size=1, max_size=20), base=st.text(max_size=90))
def test_a_default_name_is_always_valid(agent: str, base: str) -> None:
    assert check_name(default_name(agent, Path("/w") / base.replace("/", "").replace("\0", "")))


def test_a_taken_name_gets_the_first_free_number() -> None:
    assert free_name("shell-app", {"shell-app", "shell-app-2"}) == "shell-app-3"
    assert free_name("shell-app", set[str]()) == "shell-app"


def test_a_numbered_name_stays_within_the_limit() -> None:
    long = "n" * 63
    assert check_name(free_name(long, {long})) == "n" * 61 + "-2"
