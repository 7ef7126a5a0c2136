# SPDX-License-Identifier: Apache-2.0
"""The routes of a supervisor: from its settings and its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.policy.routes import ProxyServer
from sbx.store.paths import SETTINGS, Paths
from sbx.store.settings import set_value
from sbx.supervisor.upstream_routes import upstream_routes
from tests.unit.policy.factories import to

VARIABLES = ("DOCKER_SANDBOXES_PROXY", "DOCKER_SANDBOXES_NO_PROXY", "NO_PROXY", "HTTPS_PROXY")


@pytest.fixture(name="where")
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in (*VARIABLES, "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    folder = tmp_path
    return Paths(state=folder / "s", config=folder / "c", cache=folder / "k", runtime=folder / "r")


def test_nothing_is_set(where: Paths) -> None:
    assert upstream_routes(where).choose(to("site.test:443")) is None


def test_a_password_comes_by_a_variable(where: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    set_value(where, "proxy", "http://everything.test:1")
    assert str(upstream_routes(where).choose(to("site.test:443"))) == "http://everything.test:1"
    monkeypatch.setenv("DOCKER_SANDBOXES_PROXY", "http://me:secret@box.test:2")
    found = upstream_routes(where).choose(to("site.test:443"))
    assert isinstance(found, ProxyServer)
    assert (str(found), found.password) == ("http://box.test:2", "secret")
    set_value(where, "no_proxy.sandbox", "*.site.test")
    assert upstream_routes(where).choose(to("a.site.test:443")) is None


def test_a_value_that_cannot_be_read_is_an_error_and_not_a_way_around(
    where: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_SANDBOXES_PROXY", "gopher://proxy.test")
    with pytest.raises(UserError, match="DOCKER_SANDBOXES_PROXY"):
        upstream_routes(where)
    monkeypatch.delenv("DOCKER_SANDBOXES_PROXY")
    where.config.mkdir(exist_ok=True)
    (where.config / SETTINGS).write_text('{"version": 1, "settings": {"proxy": "gopher://x"}}')
    with pytest.raises(UserError, match="proxy"):
        upstream_routes(where)
    (where.config / SETTINGS).unlink()
    monkeypatch.setenv("HTTPS_PROXY", "gopher://proxy.test")
    with pytest.raises(UserError, match=r"HTTPS_PROXY.*scheme"):
        upstream_routes(where)
