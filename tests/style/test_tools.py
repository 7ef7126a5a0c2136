# SPDX-License-Identifier: Apache-2.0
"""Format, lint, types, layers, spelling and shell: the tools that read the whole tree."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from sbx.system.process import base_env, run
from tests.style.tree import ROOT, name_of, shell_files


def check(*command: str) -> None:
    """Run a tool over the tree; what it says is the message of the failure."""
    env = {**base_env(), "PYTHONPATH": str(ROOT / "src")}
    done = run(command, cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        pytest.fail((done.stdout + done.stderr).decode(errors="replace"), pytrace=False)


def check_module(*command: str) -> None:
    """The same for a tool that is a package of this environment."""
    check(sys.executable, "-m", *command)


def test_format() -> None:
    check_module("ruff", "format", "--no-cache", "--check", "--diff", ".")


def test_lint() -> None:
    check_module("ruff", "check", "--no-cache", "--output-format", "concise", ".")


def test_types_by_mypy(pytestconfig: pytest.Config) -> None:
    cache: Path = pytestconfig.cache.mkdir("mypy")
    check_module("mypy", "--cache-dir", str(cache))


def test_types_by_pyright() -> None:
    check_module("pyright", "--pythonpath", sys.executable)


def test_layers() -> None:
    program = "import importlinter.cli; importlinter.cli.lint_imports_command()"
    check(sys.executable, "-c", program, "--no-cache", "--no-logo")


def test_spelling() -> None:
    check_module("codespell_lib")


def test_shell() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; as root, `bin/test` installs it")
    check("shellcheck", "-x", *(name_of(path) for path in shell_files()))
