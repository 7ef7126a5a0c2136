# SPDX-License-Identifier: Apache-2.0
"""The helper's own file: what it imports is what each sandbox pays for."""

from __future__ import annotations

import ast
from pathlib import Path

from sbx.network import helper, talk
from sbx.network.ruleset import MANAGEMENT_LINK, SANDBOX_LINK


def test_it_imports_no_more_than_it_needs() -> None:
    tree = ast.parse(Path(helper.__file__).read_text())
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"__future__", "_socket", "ctypes", "fcntl", "os", "struct", "sys"}


def test_a_link_reads_back_as_it_was_described() -> None:
    described = helper.Link(talk.describe(MANAGEMENT_LINK))
    assert (described.device, described.gateway, described.prefix_length) == (
        "mgmt0",
        "192.168.126.1",
        24,
    )
    assert (described.guest, described.guest_mac) == ("192.168.126.2", "52:54:00:73:62:01")
    assert described.gateway_mac == "52:54:00:73:62:f1"


def test_listeners_are_those_of_the_rules_in_their_order() -> None:
    assert talk.describe_listeners(SANDBOX_LINK) == [
        "udp,192.168.127.1,53",
        "tcp,192.168.127.1,53",
        "tcp,192.168.127.1,3128",
        "tcp,192.168.127.1,3129",
    ]
    assert talk.describe_listeners(MANAGEMENT_LINK) == []
