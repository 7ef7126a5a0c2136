# SPDX-License-Identifier: Apache-2.0
"""Values that others keep: the programs are real ones."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.credential.values import Value
from sbx.errors import HostError, TransientError, UserError
from sbx.secret.entries import Entry, Kind, Source
from sbx.secret.references import check_command, check_reference, fetch, parse_refresh
from sbx.secret.store import new_entry


def _command(text: str) -> Entry:
    return replace(new_entry(Kind.SERVICE, "x"), source=Source.COMMAND, reference=text)


def test_the_output_of_a_command_is_the_value() -> None:
    assert fetch(_command("printf 'sk-%s\\n' one")) == Value("sk-one")


def test_it_runs_in_an_empty_folder_of_its_own() -> None:
    here = fetch(_command("ls -A | wc -l | tr -d '\\n'; printf :; pwd")).reveal()
    count, _, folder = here.partition(":")
    assert count == "0"
    assert not Path(folder).exists()


@pytest.mark.parametrize(
    "text", ["echo canary-out; echo canary-err >&2; exit 3", "printf 'canary\\ntwo'", "true"]
)
def test_what_a_command_prints_is_in_no_message(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(TransientError) as caught:
        fetch(_command(text))
    said = f"{caught.value!r} {caught.value.details} {caught.value.hint} {caught.value.__cause__!r}"
    assert "canary" not in said + caplog.text


def test_what_it_says_is_shown_if_asked_for() -> None:
    with pytest.raises(TransientError) as caught:
        fetch(_command("echo 'not logged in' >&2; exit 1"), show_error=True)
    assert caught.value.details == "not logged in\n"


def test_a_password_manager_is_asked_by_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "op"
    program.write_text('#!/bin/sh\nprintf "%s" "got:$*"\n')
    program.chmod(0o755)
    entry = replace(new_entry(Kind.SERVICE, "x"), source=Source.REF, reference="op://a/b/c")
    with pytest.raises(HostError, match="`op`"):
        fetch(entry)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert fetch(entry) == Value("got:read --no-newline op://a/b/c")


def test_references() -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:key-AbCdEf"
    assert check_reference("op://v/i/f") == "op://v/i/f"
    assert check_reference(arn) == arn
    for text in ("http://x", "op:/x", "-x", "op://a\nb", ""):
        with pytest.raises(UserError):
            check_reference(text)
    for text in ("", " ", "a\nb"):
        with pytest.raises(UserError):
            check_command(text)


def test_refresh_times() -> None:
    assert parse_refresh("on-demand") is None
    assert parse_refresh("1h30m") == 5400.0
    assert parse_refresh("45s") == 45.0
    for text in ("", "5", "-1m", "0s", "1d", "m"):
        with pytest.raises(UserError):
            parse_refresh(text)
