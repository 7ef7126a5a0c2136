# SPDX-License-Identifier: Apache-2.0
"""The index finds what matches without looking at the rest, for rules by the thousand."""

from __future__ import annotations

import pytest

from sbx.policy.index import Entry, Index, Leaf, Requests, compile_index
from sbx.policy.patterns import parse_resource
from sbx.policy.rules import Rule
from tests.unit.policy.factories import name, rule


def index(*patterns: str) -> Index:
    return compile_index([rule(f"allow {pattern}") for pattern in patterns])


def found(leaves: list[Leaf]) -> set[str]:
    return {
        str(entry.resource)
        for leaf in leaves
        for ports in leaf.allow.values()
        for entry in ports.values()
    }


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("a.b.com", {"**", "a.b.com", "*.b.com", "**.b.com", "**.com", "a*.b.com", "?.b.*"}),
        ("b.com", {"**", "**.b.com", "**.com"}),
        ("com", {"**", "**.com"}),
        ("x.org", {"**"}),
    ],
)
def test_a_name_is_found_by_every_form(text: str, patterns: set[str]) -> None:
    every = ["**", "a.b.com", "*.b.com", "**.b.com", "**.com", "a*.b.com", "?.b.*", "c*.b.com"]
    assert found(index(*every).by_name(name(text))) == patterns


def test_rules_on_one_pattern_share_a_leaf() -> None:
    one = index("a*.com", "a*.com:80", "*.com", "*.com:80")
    assert len(one.by_name(name("ab.com"))) == 3  # `**` is always there


def test_a_later_rule_of_the_same_pattern_and_port_is_not_kept() -> None:
    first, second = rule("allow a.com"), rule("allow a.com")
    (leaf,) = compile_index([first, second]).exact(name("a.com"))
    assert [entry.rule for ports in leaf.allow.values() for entry in ports.values()] == [first]


def test_paths_are_found_by_their_literal_start() -> None:
    requests = Requests(lenient=False)
    rules: list[Rule] = [rule("allow a.com", path=f"/repos/r{n}/**") for n in range(1000)]
    rules.append(rule("allow a.com", path="/repos/r1/*/secret"))
    for order, one in enumerate(rules):
        assert one.http is not None
        entry = Entry(order=order, rule=one, resource=parse_resource("a.com"))
        requests.add(one.http.path, one.http.methods, entry)
    for n in (0, 7, 999):
        hit = requests.find("GET", f"/repos/r{n}/x/y")
        assert hit is not None
        assert hit.rule is rules[n]
    assert requests.find("GET", "/repos/r1000/x") is None
    assert requests.find("GET", "/repos") is None
    assert requests.find("GET", None) is None
