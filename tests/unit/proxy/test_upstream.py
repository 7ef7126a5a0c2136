# SPDX-License-Identifier: Apache-2.0
"""Dialling: every address is asked about, families take turns, one failure is not the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from sbx.policy.engine import Policy
from sbx.proxy.limits import Limits
from sbx.proxy.upstream import BlockedError, Dialled, UnreachableError, Upstream
from tests.unit.policy.factories import policy, to

LIMITS = Limits(attempt_delay_s=0.01, resolve_timeout_s=0.05, connect_timeout_s=0.2)


async def dial(where: str, addresses: Sequence[str], *rules: str) -> Dialled:
    async def resolve(_: str) -> Sequence[str]:
        return addresses

    found = await Upstream(lambda: policy(*rules), resolve, LIMITS).connect(to(where))
    found.sock.close()
    return found


def listening() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


def test_the_addresses_that_are_refused_are_left_out() -> None:
    listener, port = listening()
    with listener:
        addresses = ["10.0.0.1", "169.254.169.254", "127.0.0.1", "fe80::1%eth0", "rubbish"]
        found = asyncio.run(dial(f"a.test:{port}", addresses, "allow a.test", "allow 127.0.0.1"))
    assert str(found.address) == "127.0.0.1"


def test_the_next_address_is_tried_when_one_fails() -> None:
    listener, port = listening()
    with listener:
        addresses = ["127.0.0.9", "127.0.0.8", "127.0.0.1"]
        found = asyncio.run(dial(f"a.test:{port}", addresses, "allow a.test", "allow 127.0.0.0/8"))
    assert str(found.address) == "127.0.0.1"


def test_nothing_is_resolved_for_what_is_not_allowed() -> None:
    asked: list[str] = []

    async def resolve(name: str) -> Sequence[str]:
        asked.append(name)
        return ["127.0.0.1"]

    with pytest.raises(BlockedError):
        asyncio.run(Upstream(policy, resolve, LIMITS).connect(to("a.test")))
    assert asked == []


def test_a_policy_that_changes_during_the_lookup_counts() -> None:
    current = [policy("allow a.test", "allow 127.0.0.1")]

    async def resolve(_: str) -> Sequence[str]:
        current[0] = policy("allow b.test", "allow 127.0.0.1")
        return ["127.0.0.1"]

    def now() -> Policy:
        return current[0]

    with pytest.raises(BlockedError):
        asyncio.run(Upstream(now, resolve, LIMITS).connect(to("a.test")))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
def test_a_name_at_a_special_address_is_blocked(address: str) -> None:
    with pytest.raises(BlockedError) as raised:
        asyncio.run(dial("a.test", [address], "allow **"))
    assert raised.value.decision.address is not None


def test_a_resolver_that_does_not_answer_is_given_up() -> None:
    async def resolve(_: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(UnreachableError) as raised:
        asyncio.run(Upstream(lambda: policy("allow **"), resolve, LIMITS).connect(to("a.test")))
    assert raised.value.status == 504


def test_a_name_that_does_not_exist_is_told() -> None:
    async def resolve(_: str) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(UnreachableError, match="cannot be resolved"):
        asyncio.run(Upstream(lambda: policy("allow **"), resolve, LIMITS).connect(to("a.test")))
    with pytest.raises(UnreachableError, match="no address"):
        asyncio.run(dial("a.test", [], "allow **"))


def test_the_last_error_is_told_when_all_fail() -> None:
    listener, port = listening()
    listener.close()
    with pytest.raises(UnreachableError, match="refused"):
        asyncio.run(dial(f"a.test:{port}", ["127.0.0.1"], "allow a.test", "allow 127.0.0.1"))
