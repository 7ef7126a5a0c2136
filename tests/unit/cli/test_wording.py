# SPDX-License-Identifier: Apache-2.0
"""Words that scripts match to tell errors apart appear in no other error."""

from __future__ import annotations

import ast

import pytest

from tests.kit.installation import ROOT

RESERVED = ("log in to", "not logged in", "unauthorized", "unauthenticated", "does not exist")


def texts_of_errors() -> list[tuple[str, str]]:
    """The texts in every raise of, and call to make, an error of ours on the host."""
    found: list[tuple[str, str]] = []
    for path in sorted((ROOT / "src/sbx").rglob("*.py")):
        if "guest" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = _name(node.func)
            if name.endswith("Error") or name == "__init__":
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                found += [(place, text) for text in _texts(node)]
    return found


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _texts(node: ast.AST) -> list[str]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


@pytest.mark.parametrize("word", RESERVED)
def test_reserved_words_are_in_no_error(word: str) -> None:
    assert [(place, text) for place, text in texts_of_errors() if word in text.lower()] == []


def test_errors_are_found_at_all() -> None:
    assert len(texts_of_errors()) > 100


def test_messages_start_small_and_have_no_full_stop() -> None:
    """The first argument, where it is plain text (f-strings are checked by their last piece)."""
    wrong: list[str] = []
    for path in sorted((ROOT / "src/sbx/cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.Call) and _name(node.func).endswith("Error") and node.args
            ):
                continue
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                text = first.value
                if text.endswith(".") or (text[:1].isupper() and not text[:2].isupper()):
                    wrong.append(f"{path.name}:{node.lineno} {text}")
    assert wrong == []
