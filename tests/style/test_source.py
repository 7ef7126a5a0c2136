# SPDX-License-Identifier: Apache-2.0
"""What every source file has, and what none of them may hold."""

from __future__ import annotations

import ast
import re

from tests.style.tree import (
    name_of,
    python_files,
    shell_files,
    syntax_of,
    text_of,
    texts,
)

SPDX = "# SPDX-License-Identifier: Apache-2.0"

# Written in pieces, so that this file does not hold what it looks for.
_HOSTS = [
    ("py" + "pi", "org"),
    ("python" + "hosted", "org"),
    ("npm" + "js", "org"),
    ("crates", "io"),
    ("deb." + "debian", "org"),
    ("security." + "debian", "org"),
    ("snapshot." + "debian", "org"),
]
# A suffix pattern of a policy names a whole domain, and is data; a host is a download address.
REGISTRY = re.compile(
    r"(?<!\*\*\.)(?<![\w-])(?:[\w-]+\.)*(?:"
    + "|".join(rf"{re.escape(name)}\.{end}" for name, end in _HOSTS)
    + r")\b"
)
MACHINE = re.compile(
    "|".join(re.escape(f"/{top}/{below}") for top, below in (
        ("opt", "py" + "pi"), ("opt", "wheels"), ("work", "main"), ("work", "shared"),
        ("work", ".library"), ("tmp", "venv"), ("root", ".py" + "env"),
    ))
)  # fmt: skip

# Where a pause is what was asked for. Bring-up waits for events: it never sleeps and asks again.
MAY_SLEEP: dict[str, str] = {
    "src/sbx/secret/device.py": "RFC 8628, 3.5: a provider is asked again when it says",
    "src/sbx/supervisor/space.py": "nothing tells when a full disk has room again",
}


def test_every_file_says_its_licence() -> None:
    scripts = [path for path in shell_files() if path.suffix != ".py"]
    missing = [
        name_of(path)
        for path in (*python_files(), *scripts)
        if SPDX not in (text_of(path) or "").splitlines()[:3]
    ]
    assert missing == []


def test_every_module_says_what_it_owns() -> None:
    assert [name_of(p) for p in python_files() if not ast.get_docstring(syntax_of(p))] == []


def test_no_registry_is_named() -> None:
    assert [f"{name}: {m[0]}" for name, text in texts() for m in REGISTRY.finditer(text)] == []


def test_no_path_of_a_machine_is_named() -> None:
    assert [f"{name}: {m[0]}" for name, text in texts() for m in MACHINE.finditer(text)] == []


def test_the_patterns_find_what_they_are_for() -> None:
    assert REGISTRY.search("get it from https://files.python" + "hosted.org/x")
    assert REGISTRY.search('"py' + 'pi.org"')
    assert not REGISTRY.search("**.py" + "pi.org")
    assert MACHINE.search("/opt/" + "wheels")


def test_nothing_sleeps() -> None:
    sleeping = {
        name_of(path)
        for path in python_files("src")
        for node in ast.walk(syntax_of(path))
        if isinstance(node, ast.Call) and _called(node) == "sleep"
    }
    assert sleeping == set(MAY_SLEEP)


def test_only_front_doors_end_the_process() -> None:
    doors = ("src/sbx/cli/", "src/sbx/__main__.py")
    ending = {
        name_of(path)
        for path in python_files("src")
        for statement in syntax_of(path).body
        if not _is_main_guard(statement)
        for node in ast.walk(statement)
        if isinstance(node, ast.Raise) and node.exc is not None
        if _raised(node.exc) == "SystemExit"
    }
    assert {name for name in ending if not name.startswith(doors)} == set()


def test_every_silenced_rule_has_a_reason() -> None:
    silenced = re.compile(r"# " + r"noqa(?!: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)* - \S)")
    assert [
        f"{name_of(path)}:{number}"
        for path in python_files()
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if silenced.search(line)
    ] == []


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def _raised(raised: ast.expr) -> str:
    if isinstance(raised, ast.Call):
        return _called(raised)
    return raised.id if isinstance(raised, ast.Name) else ""
