# SPDX-License-Identifier: Apache-2.0
"""YAML to a tree: one meaning for every reader, positions, and bounds that hold."""

from __future__ import annotations

import pytest

from sbx.kit import nodes
from sbx.kit.findings import KitError, Mark
from sbx.kit.nodes import Items, Scalar, Table, Value, parse


def value(text: str) -> Value:
    node = parse(f"k: {text}\n".encode(), what="x").get("k")
    assert isinstance(node, Scalar)
    return node.value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("on", "on"), ("no", "no"), ("true", True), ("False", False), ("~", None), ("", None),
        ("12", 12), ("0o17", 15), ("0x1F", 31), ("0644", 644), ("1.20", 1.2), ("1e3", 1000.0),
        ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ('"12"', "12"), ("'true'", "true"),
        ("1_000", "1_000"), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_words_mean_what_yaml_1_2_says(text: str, meaning: object) -> None:
    found = value(text)
    assert (found, type(found)) == (meaning, type(meaning))


def test_everything_knows_where_it_stands() -> None:
    tree = parse(b"a: 1\nb:\n  - c\n  - {d: e}\n", what="x")
    items = tree.get("b")
    assert isinstance(items, Items)
    assert items.items[0].mark == Mark(3, 5)
    inner = items.items[1]
    assert isinstance(inner, Table)
    assert inner.entries[0][1].mark == Mark(4, 9)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a: [1", "3: not YAML"), (b"- a\n", "not a mapping"), (b"", "not a mapping"),
        (b"a: \xff\n", "not UTF-8"), (b"a: \x07\n", "not YAML"), (b"a: !x b\n", "tag `!x`"),
        (b"a: !!python/object/apply:os.system [x]\n", "tag"), (b"? [a]\n: b\n", "a key is text"),
        (b"a: 1\n---\nb: 2\n", "not YAML"), (b"a: *b\n", "not YAML"),
        (b"#" * (nodes.MAX_BYTES + 1), "larger than"),
    ],
)  # fmt: skip
def test_what_is_not_accepted(data: bytes, words: str) -> None:
    with pytest.raises(KitError) as caught:
        parse(data, what="x")
    details = caught.value.details or ""
    assert words.partition(": ")[2] in details if words.startswith("3: ") else words in details


def test_aliases_are_followed() -> None:
    tree = parse(b"a: &x [1]\nb: *x\n", what="x")
    assert tree.get("a") == tree.get("b")


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(KitError) as caught:
        parse("\n".join(lines).encode(), what="x")
    assert "aliases included" in (caught.value.details or "")


@pytest.mark.parametrize("data", [b"a: " + b"[" * 100_000, b"a: &a [*a]\n", b"a: " + b"{b: " * 200])
def test_depth_is_bounded(data: bytes) -> None:
    with pytest.raises(KitError):
        parse(data, what="x")
