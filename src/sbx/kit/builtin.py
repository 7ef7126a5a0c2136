# SPDX-License-Identifier: Apache-2.0
"""The agents of this package: kits like anybody's, as data beside this module."""

from __future__ import annotations

from pathlib import Path

SPEC_FILE = "spec.yaml"
AGENTS = Path(__file__).parent / "agents"
# A list here and not one of the folder: the command line shows it without touching the disk.
NAMES = (
    "claude", "codex", "copilot", "cursor", "devin", "docker-agent", "droid", "gemini", "kiro",
    "opencode", "shell",
)  # fmt: skip
ALIASES = {"cagent": "docker-agent"}


def folder(name: str) -> Path:
    """The folder of a built-in agent's kit."""
    assert name in NAMES, name
    return AGENTS / name
