# SPDX-License-Identifier: Apache-2.0
"""Small rooms: the length of files and functions, and the size of what is committed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.tree import files, name_of, python_files, syntax_of

SOURCE_LINES, SOURCE_WARN_LINES, TEST_LINES = 700, 400, 600
PACKAGE_LINES = 30  # an `__init__.py` re-exports, and holds no code
FUNCTION_LINES, PARAMETERS = 100, 6
FILE_BYTES = 256 * 1024

# Functions with more parameters, and why. A test fails for an entry that is no longer needed.
MANY_PARAMETERS = {
    "src/sbx/system/process.py": "options of a child process, as in the standard library",
    "src/sbx/cli/": "click hands over each option as a parameter",
    "tests/": "fixtures are parameters",
}


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    found = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in found)


def test_source_files_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {name_of(path): lines_of(path) for path in python_files("src")}
    with capsys.disabled():
        for name, lines in sizes.items():
            if SOURCE_WARN_LINES < lines <= SOURCE_LINES:
                sys.stderr.write(f"\nlong file, split it soon: {name} has {lines} lines\n")
    assert {name: lines for name, lines in sizes.items() if lines > SOURCE_LINES} == {}


def test_test_files_are_short() -> None:
    sizes = {name_of(path): lines_of(path) for path in python_files("tests")}
    assert {name: lines for name, lines in sizes.items() if lines > TEST_LINES} == {}


def test_packages_hold_no_code() -> None:
    packages = [path for path in python_files("src") if path.name == "__init__.py"]
    assert packages
    assert [name_of(path) for path in packages if lines_of(path) > PACKAGE_LINES] == []


def test_functions_are_short() -> None:
    assert [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files("src", "tests")
        for node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES
    ] == []


def test_functions_have_few_parameters() -> None:
    found = {
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files()
        for node in functions(path)
        if parameters(node) > PARAMETERS
    }
    assert {name for name in found if not name.startswith(tuple(MANY_PARAMETERS))} == set()
    unneeded = [e for e in MANY_PARAMETERS if not any(n.startswith(e) for n in found)]
    assert unneeded in ([], ["tests/"]), f"no longer needed: {unneeded}"


def test_no_file_is_huge() -> None:
    assert [name_of(path) for path in files() if path.stat().st_size > FILE_BYTES] == []
