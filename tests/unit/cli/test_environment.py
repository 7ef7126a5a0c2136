# SPDX-License-Identifier: Apache-2.0
"""`-e` and `--env-file`: the format, and who wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.cli.environment import collect
from sbx.errors import UserError

HOST = {"FROM_HOST": "h", "EMPTY": ""}


def test_later_files_win_and_options_win_over_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("A=1\nB=1\nC=1\n")
    (tmp_path / "two").write_text("B=2\nC=2\n")
    files = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert collect(["C=3"], files, HOST) == {"A": "1", "B": "2", "C": "3"}


def test_a_file_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(
        b'\xef\xbb\xbf# comment\n\n  A=1\r\nQ="quoted" # not a comment\nFROM_HOST\nNO\nX=a=b\nE='
    )
    assert collect([], [str(path)], HOST) == {
        "A": "1", "Q": '"quoted" # not a comment', "FROM_HOST": "h", "X": "a=b", "E": "",
    }  # fmt: skip


def test_a_bare_key_copies_the_hosts_value_or_is_left_out() -> None:
    assert collect(["FROM_HOST", "EMPTY", "NOSUCH"], [], HOST) == {"FROM_HOST": "h", "EMPTY": ""}


@pytest.mark.parametrize("item", ["", " ", "=x", "A B=1", "\tA=1", "A\x1b=1"])
def test_what_is_not_a_variable_is_refused(item: str) -> None:
    with pytest.raises(UserError):
        collect([item], [], HOST)


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\nB C=2\n")
    with pytest.raises(UserError, match=r"env`, line 2"):
        collect([], [str(path)], HOST)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read env file"):
        collect([], [str(path)], HOST)


@given(item=st.text(max_size=20))
def test_any_option_is_a_variable_or_a_user_error(item: str) -> None:
    try:
        found = collect([item], [], HOST)
    except UserError:
        return
    assert len(found) <= 1
    assert all(key and "=" not in key for key in found)
