# SPDX-License-Identifier: Apache-2.0
"""Folders: derived from the environment, private, and short enough for a socket."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.errors import HostError, UserError
from sbx.store.paths import Paths, find_paths, make_private

_VARIABLES = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in _VARIABLES:
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    found = find_paths()
    assert found.state == tmp_path / "XDG_STATE_HOME" / "opensbx"
    assert found.config == tmp_path / "XDG_CONFIG_HOME" / "opensbx"
    assert found.cache == tmp_path / "XDG_CACHE_HOME" / "opensbx"
    assert found.runtime == tmp_path / "XDG_RUNTIME_DIR" / "opensbx"


def test_relative_values_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in _VARIABLES:
        monkeypatch.setenv(variable, "relative")
    found = find_paths()
    assert found.state == tmp_path / ".local/state/opensbx"
    assert found.runtime == Path(f"/tmp/opensbx-run-{os.geteuid()}/opensbx")


def test_an_app_name_has_its_own_state_and_shares_the_cache() -> None:
    plain, other = find_paths(), find_paths("ci")
    assert other.state.name == other.config.name == other.runtime.name == "opensbx-ci"
    assert other.cache == plain.cache


@pytest.mark.parametrize("name", ["", "a/b", "..", "-a", "A", "a" * 33, "a\n"])
def test_an_app_name_that_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="invalid --app-name"):
        find_paths(name)


def _below(folder: Path) -> Paths:
    return Paths(
        state=folder / "s", config=folder / "c", cache=folder / "k", runtime=folder / "x" / "r"
    )


def test_folders_are_made_closed_to_others(tmp_path: Path) -> None:
    where = _below(tmp_path)
    where.state.mkdir(mode=0o755)
    make_private(where)
    for folder in (where.state, where.sandboxes, where.config, where.cache, where.runtime):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_socket_path_that_the_kernel_would_refuse_is_refused_early(tmp_path: Path) -> None:
    where = _below(tmp_path / ("long" * 30))
    with pytest.raises(HostError, match="socket path is too long"):
        where.run_folder("0" * 32)
