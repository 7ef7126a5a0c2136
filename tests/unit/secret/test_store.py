# SPDX-License-Identifier: Apache-2.0
"""Setting and removing secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sbx.credential.values import Value
from sbx.errors import ConflictError, NotFoundError
from sbx.secret.entries import Kind, VaultKind, read_entries
from sbx.secret.store import drop_sandbox, exists, new_entry, read_value, remove, save
from sbx.secret.vaults import VALUES
from sbx.store.paths import Paths
from tests.unit.secret.test_entries import paths


@pytest.fixture(name="where")
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return paths(tmp_path)


def test_a_value_is_stored_beside_its_entry(where: Paths) -> None:
    entry = new_entry(Kind.SERVICE, "openai")
    saved = save(where, entry, Value("sk-canary-0123456789abcdef"), overwrite=False)
    assert saved.in_file
    assert saved.entry.vault is VaultKind.FILE
    assert read_value(where, saved.entry).reveal() == "sk-canary-0123456789abcdef"
    assert "canary" not in (where.config / "secrets.json").read_text()
    assert exists(where, new_entry(Kind.SERVICE, "openai"))
    assert not exists(where, new_entry(Kind.SERVICE, "openai", sandbox="box"))


def test_an_overwritten_value_is_gone(where: Paths) -> None:
    save(where, new_entry(Kind.SERVICE, "openai"), Value("old-value"), overwrite=False)
    with pytest.raises(ConflictError):
        save(where, new_entry(Kind.SERVICE, "openai"), Value("new-value"), overwrite=False)
    save(where, new_entry(Kind.SERVICE, "openai"), Value("new-value"), overwrite=True)
    assert len(read_entries(where)) == 1
    assert "old-value" not in (where.config / VALUES).read_text()


def test_a_custom_secret_replaces_no_other(where: Paths) -> None:
    entry = replace(
        new_entry(Kind.CUSTOM, "MY_KEY"), hosts=("a.test",), placeholder="sbx-cs-abcdefgh12345678"
    )
    save(where, entry, Value("value-one"), overwrite=False)
    again = replace(new_entry(Kind.CUSTOM, "MY_KEY"), hosts=("b.test",), placeholder="x" * 20)
    with pytest.raises(ConflictError) as caught:
        save(where, again, Value("value-two"), overwrite=True)
    assert caught.value.message == (
        'custom secret env "MY_KEY" already exists in scope global '
        "with placeholder sbx-cs-abcdefgh12345678"
    )
    save(where, replace(again, sandbox="box"), Value("value-two"), overwrite=False)


def test_removed_is_removed(where: Paths) -> None:
    one = save(where, new_entry(Kind.SERVICE, "openai"), Value("one-value"), overwrite=False).entry
    save(where, new_entry(Kind.SERVICE, "xai", sandbox="box"), Value("two-value"), overwrite=False)
    assert remove(where, [one]) == ()
    assert [e.name for e in read_entries(where)] == ["xai"]
    assert "one-value" not in (where.config / VALUES).read_text()
    with pytest.raises(NotFoundError):
        read_value(where, one)
    drop_sandbox(where, "box")
    assert read_entries(where) == ()
    assert not (where.config / VALUES).exists()
