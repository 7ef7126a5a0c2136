# SPDX-License-Identifier: Apache-2.0
"""The list of secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.secret.entries import SECRETS, Kind, change, locked, read_entries
from sbx.secret.store import new_entry
from sbx.store.paths import Paths


def paths(folder: Path) -> Paths:
    """The folders of an installation."""
    return Paths(
        state=folder / "state",
        config=folder / "config",
        cache=folder / "cache",
        runtime=folder / "run" / "opensbx",
    )


def test_entries_survive(tmp_path: Path) -> None:
    where = paths(tmp_path)
    assert read_entries(where) == ()
    entry = new_entry(Kind.SERVICE, "openai", sandbox="box")
    with locked(where):
        change(where, lambda all_: (*all_, entry))
    assert read_entries(where) == (entry,)
    assert (where.config / SECRETS).stat().st_mode & 0o777 == 0o600
    assert entry.scope == "box"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 2}', '{"version": 1}', '{"version": 1, "entries": [{}]}']
)
def test_a_damaged_list_is_neither_believed_nor_overwritten(tmp_path: Path, text: str) -> None:
    where = paths(tmp_path)
    where.config.mkdir(parents=True, mode=0o700)
    (where.config / SECRETS).write_text(text)
    with pytest.raises(PermanentError):
        read_entries(where)
    with locked(where), pytest.raises(PermanentError):
        change(where, lambda _: ())
    assert (where.config / SECRETS).read_text() == text


def test_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    where = paths(tmp_path)
    with locked(where):
        change(where, lambda _: (new_entry(Kind.SERVICE, "openai"),))
    path = where.config / SECRETS
    data = json.loads(path.read_text())
    data["entries"][0]["value"] = "sk-canary"
    path.write_text(json.dumps(data))
    with pytest.raises(PermanentError) as caught:
        read_entries(where)
    assert "canary" not in str(caught.value)
