# SPDX-License-Identifier: Apache-2.0
"""What the documents say is there: links, tests, files, commands and options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sbx.cli.main import root
from sbx.store.paths import SANDBOX_FILES
from tests.style.tree import ROOT, files, name_of, syntax_of

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED_TEST = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
DECISION = re.compile(r"docs/decisions/\d{4}-[a-z0-9-]+\.md")


def documents() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def prose(path: Path) -> str:
    """The text without its code blocks, whose brackets are no links."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def section(text: str, title: str) -> str | None:
    """The part of a document under the heading that names a command."""
    found = re.search(rf"^(#+) `sbx {re.escape(title)}`.*?$(.*?)(?=^#|\Z)", text, re.M | re.S)
    return found[2] if found else None


def test_links_lead_somewhere() -> None:
    broken: list[str] = []
    for path in documents():
        for target in LINK.findall(prose(path)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            to = (path.parent / name).resolve() if name else path
            if not to.exists() or (anchor and to.suffix == ".md" and anchor not in anchors(to)):
                broken.append(f"{name_of(path)}: {target}")
    assert broken == []


def test_every_document_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / t.partition("#")[0]).resolve() for t in LINK.findall(prose(index))}
    here = {path for path in documents() if DOCS in path.parents and path != index}
    template = DOCS / "decisions" / "template.md"
    assert {name_of(path) for path in here - linked - {template}} == set()


def test_named_tests_exist() -> None:
    """A promise names the test that would fail if it were broken."""
    missing = [
        f"{name_of(path)}: {found[0]}"
        for path in documents()
        for found in NAMED_TEST.finditer(path.read_text(encoding="utf-8"))
        if not has_test(found[1], found[2])
    ]
    assert missing == []


def test_security_promises_name_tests() -> None:
    promises = [
        line
        for line in (DOCS / "security.md").read_text(encoding="utf-8").splitlines()
        if NAMED_TEST.search(line)
    ]
    assert len(promises) >= 5, "docs/security.md: each guarantee names the test that proves it"


def has_test(name: str, function: str | None) -> bool:
    path = ROOT / name
    if not path.is_file():
        return False
    defined = {
        node.name
        for node in ast.walk(syntax_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return function is None or function in defined


@pytest.mark.parametrize("name", SANDBOX_FILES)
def test_each_file_of_a_sandbox_is_described(name: str) -> None:
    assert f"`{name}`" in (DOCS / "sandbox-folder.md").read_text(encoding="utf-8")


def test_the_command_reference_is_complete() -> None:
    text = prose(DOCS / "cli.md")
    missing: list[str] = []
    for name, command in commands(root):
        part = section(text, name)
        if part is None:
            missing.append(f"`sbx {name}`")
            continue
        for option in command.params:
            if isinstance(option, click.Option) and "--help" not in option.opts:
                missing += [f"sbx {name} {o}" for o in option.opts if f"`{o}" not in part]
    assert missing == [], "run scripts/write-cli-reference"


def test_global_options_are_in_the_command_reference() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    options = [o for p in root.params if isinstance(p, click.Option) for o in p.opts]
    assert [o for o in options if o != "--help" and f"`{o}" not in text] == []


def test_decisions_have_numbers_and_a_status() -> None:
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert records
    assert [name_of(r) for r in records if not DECISION.fullmatch(name_of(r))] == []
    numbers = [int(record.name[:4]) for record in records]
    assert numbers == list(range(1, len(records) + 1))
    assert [name_of(r) for r in records if "\nStatus: " not in r.read_text(encoding="utf-8")] == []


def test_the_changelog_has_the_version() -> None:
    import sbx

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {sbx.__version__}" in text or "## Unreleased" in text
