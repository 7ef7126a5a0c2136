# SPDX-License-Identifier: Apache-2.0
"""Names that mean our own templates, and the verbs on a store without any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbx.cli.app import App
from sbx.cli.templates import own_name
from sbx.errors import NotFoundError


@pytest.fixture(name="app")
def _app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return App()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("opensbx/shell", "shell"),
        ("docker.io/opensbx/claude:latest", "claude"),
        ("docker/sandbox-templates:claude-code", "claude"),
        ("docker/sandbox-templates:claude-code-docker", "claude"),
        ("docker.io/docker/sandbox-templates:shell-docker", "shell"),
        ("docker/sandbox-templates", "shell"),
        ("docker/sandbox-templates-of-mine:1", None),
        ("registry.example/opensbx/shell", None),
        ("debian", None),
    ],
)
def test_names_of_ours(app: App, name: str, own: str | None) -> None:
    assert own_name(app, name) == own


def test_an_agent_that_there_is_not(app: App) -> None:
    with pytest.raises(NotFoundError, match="template not found"):
        own_name(app, "opensbx/nobody")


def test_aliases_are_the_users(app: App, tmp_path: Path) -> None:
    (tmp_path / "opensbx").mkdir()
    settings = {"version": 1, "settings": {"template.aliases": ["my/base=opensbx"]}}
    (tmp_path / "opensbx/settings.json").write_text(json.dumps(settings))
    assert own_name(app, "my/base:codex") == "codex"
    assert own_name(app, "docker/sandbox-templates:codex") is None
