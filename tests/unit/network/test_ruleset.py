# SPDX-License-Identifier: Apache-2.0
"""The rendered rules: a golden of the whole text, and what must hold whatever the links are."""

from __future__ import annotations

import re
from pathlib import Path

from sbx.network.ruleset import (
    MANAGEMENT_LINK,
    SANDBOX_LINK,
    Link,
    render_guest_ports,
    render_ruleset,
)

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
    assert text.count("policy accept") == text.count("type nat hook") == 1  # which decides nothing


def test_a_link_without_calls_accepts_nothing_at_all() -> None:
    assert "accept" not in render_ruleset([PLAIN])


def test_no_links_still_close_the_stack() -> None:
    text = render_ruleset([])
    assert "accept" not in text
    assert len(re.findall(r"policy drop;", text)) == 3


def test_the_sandbox_link_leads_to_services_of_ours_only() -> None:
    table = render_ruleset([SANDBOX_LINK, MANAGEMENT_LINK]).split("table inet")[1]
    accepts = [line for line in table.splitlines() if "accept" in line and "sbx0" in line]
    ports = {int(port) for line in accepts for port in re.findall(r"[ds]port (\d+)", line)}
    assert ports == {service.port for service in SANDBOX_LINK.listeners} == {53, 3128, 3129}
    calls = [line for line in accepts if "ct state new,established" in line and "oifname" in line]
    assert [line.split("dport ")[1].split()[0] for line in calls] == [
        "@sbx0_guest_tcp",
        "@sbx0_guest_udp",
    ]


def test_ports_of_the_guest_are_replaced_in_one_transaction() -> None:
    text = render_guest_ports(SANDBOX_LINK, tcp=[8080, 22, 8080], udp=[])
    assert text.splitlines() == [
        "flush set netdev opensbx sbx0_guest_udp",
        "flush set inet opensbx sbx0_guest_tcp",
        "add element inet opensbx sbx0_guest_tcp { 22, 8080 }",
        "flush set inet opensbx sbx0_guest_udp",
    ]


def test_a_link_without_redirect_has_no_nat() -> None:
    assert "nat" not in render_ruleset([PLAIN, MANAGEMENT_LINK])


def test_every_counter_is_declared_before_it_is_used() -> None:
    text = render_ruleset([SANDBOX_LINK, MANAGEMENT_LINK])
    declared = set(re.findall(r"^\tcounter (\w+) \{ \}$", text, re.MULTILINE))
    used = set(re.findall(r'counter name "(\w+)"', text))
    assert used == declared
