# SPDX-License-Identifier: Apache-2.0
"""The postures: what each lets through, and that the Balanced list is in order."""

from __future__ import annotations

import pytest

from sbx.policy.balanced import GROUPS
from sbx.policy.engine import compile_policy
from sbx.policy.patterns import parse_resource
from sbx.policy.presets import Preset, preset_rules
from tests.unit.policy.factories import to


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize(
    "text", ["169.254.169.254:80", "127.0.0.1:80", "192.168.0.1", "[::1]:80", "localhost:22"]
)
def test_no_posture_lets_the_host_or_its_networks_be_reached(preset: Preset, text: str) -> None:
    assert not compile_policy(preset_rules(preset)).connection(to(text)).allowed


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("api.anthropic.com", True),
        ("api.openai.com", True),
        ("github.com", True),
        ("codeload.github.com", True),
        ("raw.githubusercontent.com", True),
        ("proxy.golang.org", True),
        ("static.rust-lang.org", True),
        ("archive.ubuntu.com:80", True),
        ("r10.o.lencr.org:80", True),
        ("github.com:80", False),
        ("github.com:22", False),
        ("api.anthropic.com:80", False),
        ("example.com", False),
        ("bucket.s3.amazonaws.com", False),
        ("evil-github.com", False),
        ("github.com.evil.example", False),
        ("8.8.8.8", False),
    ],
)
def test_balanced(text: str, *, allowed: bool) -> None:
    assert compile_policy(preset_rules(Preset.BALANCED)).connection(to(text)).allowed is allowed


def test_open_and_locked_down() -> None:
    assert compile_policy(preset_rules(Preset.ALLOW_ALL)).connection(to("a.com:22")).allowed
    assert preset_rules(Preset.DENY_ALL) == ()
    assert [preset.posture for preset in Preset] == ["Open", "Balanced", "Locked Down"]


def test_the_list_is_in_order() -> None:
    assert len({group.id for group in GROUPS}) == len(GROUPS)
    every = [
        (host, port) for group in GROUPS for host in group.hosts.split() for port in group.ports
    ]
    assert len(set(every)) == len(every), "a host stands twice"
    for group in GROUPS:
        assert group.why
        for host in group.hosts.split():
            assert str(parse_resource(host)) == host


def test_no_host_of_the_list_is_covered_by_another() -> None:
    trees = {
        host.removeprefix("**.")
        for group in GROUPS
        for host in group.hosts.split()
        if host.startswith("**.")
    }
    for group in GROUPS:
        for host in group.hosts.split():
            bare = host.removeprefix("**.").removeprefix("*.")
            above = [bare.split(".", n)[-1] for n in range(1, bare.count(".") + 1)]
            own = [bare] if not host.startswith("**.") else []
            assert not trees & {*above, *own}, host


def test_every_rule_of_a_posture_is_public_tcp_and_says_why() -> None:
    for preset in Preset:
        for rule in preset_rules(preset):
            assert rule.id.startswith("default-")
            assert rule.note
            assert not rule.private
            assert rule.protocols == {"tcp"}
