# SPDX-License-Identifier: Apache-2.0
"""Where values are kept, without a keychain (that is in tests/host/test_keychain.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.credential.values import Value
from sbx.errors import PermanentError, TransientError
from sbx.secret.entries import VaultKind
from sbx.secret.vaults import VALUES, FileVault, best_vault, open_vault
from sbx.store.paths import make_private
from sbx.system.session_bus import session_bus
from tests.unit.secret.test_entries import paths


@pytest.fixture(autouse=True)
def _no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def test_a_file_keeps_values_for_us_alone(tmp_path: Path) -> None:
    where = paths(tmp_path)
    make_private(where)
    vault = best_vault(where)
    assert isinstance(vault, FileVault)
    assert vault.get("a") is None
    vault.set("a", Value("one"))
    vault.set("b", Value("two"))
    assert vault.get("a") == Value("one")
    file = where.config / VALUES
    assert file.stat().st_mode & 0o777 == 0o600
    assert where.config.stat().st_mode & 0o777 == 0o700
    vault.delete("a")
    vault.delete("a")
    assert vault.get("a") is None
    vault.delete("b")
    assert not file.exists()


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    where = paths(tmp_path)
    make_private(where)
    vault = FileVault(where)
    vault.set("a", Value("one"))
    (where.config / VALUES).chmod(0o640)
    with pytest.raises(PermanentError, match="other users"):
        vault.get("a")


def test_a_damaged_file_is_not_quoted(tmp_path: Path) -> None:
    where = paths(tmp_path)
    make_private(where)
    (where.config / VALUES).write_text('{"a": "sk-canary"')
    (where.config / VALUES).chmod(0o600)
    with pytest.raises(PermanentError) as caught:
        FileVault(where).get("a")
    assert "canary" not in repr(caught.value) + str(caught.value.__cause__)


def test_a_keychain_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="keychain"):
        open_vault(paths(tmp_path), VaultKind.KEYCHAIN)


def test_the_session_bus_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_bus() is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert session_bus() is None
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")
    assert session_bus() == "unix:path=/x"
