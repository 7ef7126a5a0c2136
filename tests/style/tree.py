# SPDX-License-Identifier: Apache-2.0
"""The files of the project, for the tests that read all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sbx.system.process import run

ROOT = Path(__file__).parents[2]
_GIT = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT))


@cache
def files() -> tuple[Path, ...]:
    """What git tracks, and what it would add: a rule holds before the commit too."""
    listed = run([*_GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).stdout
    paths = (ROOT / name for name in listed.decode().split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file() and not path.is_symlink()))


def name_of(path: Path) -> str:
    """The path as a person of the project says it."""
    return str(path.relative_to(ROOT))


def python_files(*folders: str) -> tuple[Path, ...]:
    """The Python files, of these folders or of all."""
    wanted = tuple(f"{folder}/" for folder in folders)
    return tuple(p for p in files() if p.suffix == ".py" and name_of(p).startswith(wanted or ("",)))


def shell_files() -> tuple[Path, ...]:
    """The scripts for a shell, told by their name or their first line."""
    return tuple(p for p in files() if p.suffix == ".sh" or _first_line(p).endswith(b"bash"))


def text_of(path: Path) -> str | None:
    """The text of a file, or None if it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every text file."""
    for path in files():
        if (text := text_of(path)) is not None:
            yield name_of(path), text


@cache
def syntax_of(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        line = file.readline(80)
    return line.strip() if line.startswith(b"#!") else b""
