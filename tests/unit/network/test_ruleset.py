# SPDX-License-Identifier: Apache-2.0
"""The rendered rules: a golden of the whole text, and what must hold whatever the links are."""

from __future__ import annotations

import re
from pathlib import Path

from sbx.network.ruleset import MANAGEMENT_LINK, SANDBOX_LINK, Link, render_ruleset

GOLDEN = Path(__file__).parents[2] / "golden" / "ruleset.nft"

PLAIN = Link(
    device="tap9",
    gateway="192.0.2.1",
    gateway_mac="52:54:00:00:00:f9",
    guest="192.0.2.2",
    guest_mac="52:54:00:00:00:09",
)


def test_rules_of_a_sandbox_are_the_golden_ones() -> None:
    assert render_ruleset([SANDBOX_LINK, MANAGEMENT_LINK]) == GOLDEN.read_text()


def test_every_chain_drops_by_default() -> None:
    text = render_ruleset([SANDBOX_LINK, MANAGEMENT_LINK])
    assert text.count("type filter hook") == 5
    assert len(re.findall(r"type filter hook .*; policy drop;", text)) == 5


def test_a_link_without_calls_accepts_nothing_at_all() -> None:
    assert "accept" not in render_ruleset([PLAIN])


def test_no_links_still_close_the_stack() -> None:
    text = render_ruleset([])
    assert "accept" not in text
    assert len(re.findall(r"policy drop;", text)) == 3


def test_the_sandbox_link_accepts_nothing_yet() -> None:
    accepts = [
        line
        for line in render_ruleset([SANDBOX_LINK, MANAGEMENT_LINK]).splitlines()
        if "accept" in line
    ]
    assert len(accepts) == 4
    assert not [
        line for line in accepts if SANDBOX_LINK.device in line or SANDBOX_LINK.guest in line
    ]


def test_every_counter_is_declared_before_it_is_used() -> None:
    text = render_ruleset([SANDBOX_LINK, MANAGEMENT_LINK])
    declared = set(re.findall(r"^\tcounter (\w+) \{ \}$", text, re.MULTILINE))
    used = set(re.findall(r'counter name "(\w+)"', text))
    assert used == declared
