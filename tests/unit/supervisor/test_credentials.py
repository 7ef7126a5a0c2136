# SPDX-License-Identifier: Apache-2.0
"""The credentials of a sandbox: a kit's own service counts where the user agreed to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.credential.binding import due
from sbx.credential.values import Value
from sbx.sandbox.recipe import KitPlace, KitService
from sbx.secret.entries import Kind
from sbx.secret.store import new_entry, save
from sbx.store.paths import Paths
from sbx.supervisor.credentials import Credentials
from tests.unit.secret.test_entries import paths

ACME = KitService(
    name="acme",
    variable="ACME_KEY",
    places=(
        KitPlace(host="api.acme.test", header="x-key", format="key %s"),
        KitPlace(host="git.acme.test", header="authorization", format=None, username="me"),
    ),
)


@pytest.fixture(name="where")
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    where = paths(tmp_path)
    save(where, new_entry(Kind.SERVICE, "acme", sandbox=None), Value("sk-acme"), overwrite=True)
    return where


def test_a_service_of_a_kit_is_bound_where_the_kit_says(where: Paths) -> None:
    credentials = Credentials(where, "box", [ACME])
    credentials.refresh()
    assert credentials.inside().environment["ACME_KEY"] == "proxy-managed"
    (binding,) = credentials.bindings
    for host, header in (("api.acme.test", "x-key"), ("git.acme.test", "authorization")):
        (found,) = due([binding], host, 443, "GET", "/")
        assert found.place.header == header
    assert due([binding], "www.acme.test", 443, "GET", "/") == ()


def test_without_the_user_s_consent_it_is_not(where: Paths) -> None:
    credentials = Credentials(where, "box")
    credentials.refresh()
    assert credentials.bindings == ()
    assert "ACME_KEY" not in credentials.inside().environment
