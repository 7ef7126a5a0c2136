# SPDX-License-Identifier: Apache-2.0
"""Where a connection leads, and which names agree."""

from __future__ import annotations

import pytest

from sbx.policy.hosts import HostName, parse_host
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.targets import UnknownTargetError, agreed, target_of
from tests.unit.policy.factories import policy, to


def test_a_stand_in_leads_to_its_name() -> None:
    names = StandIns()
    address = names.address_of(HostName("example.com"))
    assert str(target_of(address, 22, names)) == "example.com:22"


@pytest.mark.parametrize(
    "text", ["192.168.127.1", "gateway.docker.internal", "host.docker.internal", "localhost"]
)
def test_the_gateway_is_the_host(text: str) -> None:
    assert str(target_of(parse_host(text), 80, StandIns())) == "localhost:80"


def test_a_stand_in_that_nobody_was_told_leads_nowhere() -> None:
    with pytest.raises(UnknownTargetError):
        target_of(parse_host("198.18.0.1"), 80, StandIns())


@pytest.mark.parametrize(
    ("where", "said", "agrees"),
    [
        ("a.com", "a.com", True),
        ("a.com", "A.com.", True),
        ("a.com", "b.com", False),
        ("a.com", "x.a.com", False),
        ("a.com", None, False),
        ("a.com", "8.8.8.8", False),
        ("8.8.8.8", None, True),
        ("8.8.8.8", "8.8.8.8", True),
        ("8.8.8.8", "dns.example", True),
        ("8.8.8.8", "evil.com", False),
        ("localhost", "host.docker.internal", True),
        ("localhost", "gateway.docker.internal", True),
    ],
)
def test_names_agree(where: str, said: str | None, agrees: bool) -> None:
    rules = policy("allow **", "deny evil.com")
    host = None if said is None else parse_host(said)
    assert (agreed(rules, to(where), host, "name") is None) == agrees
