# SPDX-License-Identifier: Apache-2.0
"""A kit written from docs/kits.md alone is valid, and the page describes every key."""

from __future__ import annotations

import re

import pytest

from sbx.kit.args import NO_ARGS
from sbx.kit.compose import compose, load_kit
from sbx.kit.fetch import Fetcher
from sbx.kit.model import Kind, Spec
from sbx.kit.shapes import members
from tests.kit.installation import ROOT
from tests.unit.kit.kits import fetch_from, kit

PAGE = (ROOT / "docs/kits.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_valid_and_goes_with_an_agent(text: str) -> None:
    fetcher = Fetcher(cwd=ROOT)
    own = load_kit(
        "./k", lambda ref: fetch_from({"./k": text})(ref) if ref == "./k" else fetcher(ref), NO_ARGS
    )
    assert own.warnings == ()
    agent = own if own.spec.kind is Kind.SANDBOX else load_kit("shell", fetcher, NO_ARGS)
    compose(agent, () if agent is own else (own,), NO_ARGS)


def test_there_are_examples_of_both_kinds() -> None:
    kinds = {re.search(r"^kind: (\w+)", text, re.M)[1] for text in EXAMPLES}  # type: ignore[index]  # each has one
    assert kinds == {"mixin", "sandbox"}


def test_every_key_is_described() -> None:
    keys = [member.key for member in members(Spec)]
    assert [key for key in keys if not re.search(rf"`{key}[`.\[]", PAGE)] == []


def test_the_values_of_the_example_arrive() -> None:
    found = kit(EXAMPLES[0])
    assert found.spec.variables == {"LINTER_LEVEL": "strict"}
