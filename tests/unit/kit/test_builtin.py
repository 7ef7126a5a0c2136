# SPDX-License-Identifier: Apache-2.0
"""The built-in agents: kits like any other, valid, complete, pinned where that is possible."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from sbx.kit import builtin
from sbx.kit.args import NO_ARGS, parse_args
from sbx.kit.compose import Composition, compose, load_kit
from sbx.kit.fetch import Fetcher

COMMANDS = {
    "claude": "claude --dangerously-skip-permissions",
    "codex": "codex --dangerously-bypass-approvals-and-sandbox",
    "copilot": "copilot --yolo",
    "cursor": "cursor-agent --yolo",
    "devin": "devin --permission-mode dangerous --respect-workspace-trust=false",
    "docker-agent": "docker-agent run --yolo",
    "droid": "droid",
    "gemini": "gemini --yolo",
    "kiro": "kiro-cli chat --trust-all-tools",
    "opencode": "opencode",
    "shell": "/bin/bash -l",
}
FROM_NPM = ("claude", "codex", "copilot", "gemini", "opencode")


def whole(name: str, *words: str) -> Composition:
    given = parse_args(words)
    return compose(load_kit(name, Fetcher(cwd=Path("/")), given), (), given)


def test_the_list_is_what_is_there() -> None:
    assert sorted(path.name for path in builtin.AGENTS.iterdir()) == list(builtin.NAMES)
    assert set(builtin.ALIASES.values()) <= set(builtin.NAMES)


@pytest.mark.parametrize("name", builtin.NAMES)
def test_each_is_valid_and_starts_as_users_know_it(name: str) -> None:
    found = whole(name)
    assert found.agent.spec.name == name
    assert found.warnings == ()
    assert found.launch((), terminal=True) == tuple(COMMANDS[name].split())
    if name != "shell":
        assert found.install
        assert found.allow
        assert found.agent.spec.agent_instructions is not None


@pytest.mark.parametrize("name", FROM_NPM)
def test_those_from_npm_have_a_version_that_can_be_chosen(name: str) -> None:
    (step,) = whole(name).install
    assert re.search(r"@\d+\.\d+\.\d+\"$", step.command.strip())
    (other,) = whole(name, "version=9.9.9").install
    assert other.command.strip().endswith('@9.9.9"')


@pytest.mark.parametrize("value", ["1; rm -rf /", "$(x)", "1 --registry=http://x", '1"'])
def test_a_version_is_no_command(value: str) -> None:
    with pytest.raises(Exception, match="invalid spec"):
        load_kit("claude", Fetcher(cwd=Path("/")), parse_args([f"version={value}"]))


@pytest.mark.parametrize("name", builtin.NAMES)
def test_configuration_files_are_what_their_names_say(name: str) -> None:
    for file in whole(name).setup_files:
        text = file.content.replace("${WORKDIR}", "/work")
        match Path(file.path).suffix:
            case ".json":
                json.loads(text)
            case ".toml":
                tomllib.loads(text)
            case other:
                raise AssertionError(other)
        assert file.path.startswith("/home/agent/")
        assert file.only_if_missing


def test_no_argument_is_needed() -> None:
    for name in builtin.NAMES:
        load_kit(name, Fetcher(cwd=Path("/")), NO_ARGS)
