# SPDX-License-Identifier: Apache-2.0
"""What DNS answers, and the stand-in addresses it answers with."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.policy.hosts import HostName
from sbx.proxy.dns.answers import Answers, Reply
from sbx.proxy.dns.message import Rcode, RecordType, build_query
from sbx.proxy.dns.standins import STAND_INS, StandIns
from tests.unit.policy.factories import policy


def ask(name: str, kind: int = RecordType.A, *rules: str, names: StandIns | None = None) -> Reply:
    answers = Answers(lambda: policy(*rules), StandIns() if names is None else names)
    return answers.answer(build_query(7, name, kind))


def code_and_address(reply: Reply) -> tuple[int, IPv4Address | None]:
    assert reply.data is not None
    _, flags, _, answers, *_ = struct.unpack_from("!6H", reply.data)
    return flags & 0xF, IPv4Address(reply.data[-4:]) if answers else None


def test_an_allowed_name_gets_its_stand_in() -> None:
    names = StandIns()
    code, address = code_and_address(ask("A.example.com", 1, "allow *.example.com", names=names))
    assert code == Rcode.NOERROR
    assert address is not None
    assert address in STAND_INS
    assert names.name_of(address) == "a.example.com"
    assert names.address_of(HostName("a.example.com")) == address


@pytest.mark.parametrize("kind", [1, 28, 16, 10, 65, 33, 15, 12, 2])
def test_a_name_that_is_not_allowed_does_not_exist(kind: int) -> None:
    names = StandIns()
    reply = ask("c2VjcmV0.evil.example", kind, "allow example.com", names=names)
    assert code_and_address(reply) == (Rcode.NXDOMAIN, None)
    assert reply.decision is not None
    assert not reply.decision.allowed
    assert len(names) == 0


@pytest.mark.parametrize("kind", [28, 16, 65, 64, 33, 15, 5, 2, 6, 12])
def test_other_types_of_an_allowed_name_are_empty(kind: int) -> None:
    assert code_and_address(ask("example.com", kind, "allow example.com")) == (0, None)


@pytest.mark.parametrize("kind", [251, 252, 255])
def test_some_types_are_refused(kind: int) -> None:
    assert code_and_address(ask("example.com", kind, "allow **")) == (Rcode.REFUSED, None)


def test_another_class_is_refused() -> None:
    data = build_query(1, "version.bind", 16)[:-1] + b"\x03"
    reply = Answers(lambda: policy("allow **"), StandIns()).answer(data)
    assert code_and_address(reply) == (Rcode.REFUSED, None)


@pytest.mark.parametrize("name", ["gateway.docker.internal", "HOST.docker.internal"])
def test_the_host_is_the_gateway(name: str) -> None:
    assert code_and_address(ask(name)) == (0, IPv4Address("192.168.127.1"))
    assert code_and_address(ask(name, RecordType.AAAA)) == (0, None)


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "1", "0x7f.1", "localhost", "a b.com", "x.0177", "", "-a.com"]
)
def test_what_is_no_name_does_not_exist(name: str) -> None:
    assert code_and_address(ask(name, 1, "allow **")) == (Rcode.NXDOMAIN, None)


def test_an_unknown_edns_version_is_told() -> None:
    data = build_query(1, "example.com", 1)
    opt = b"\0" + struct.pack("!HHIH", RecordType.OPT, 1232, 1 << 16, 0)
    reply = Answers(lambda: policy("allow **"), StandIns()).answer(
        data[:10] + b"\0\x01" + data[12:] + opt
    )
    assert reply.data is not None
    assert reply.data[-6] == 1  # BADVERS is 16: its upper bits stand in the option


@given(st.binary(max_size=600))
def test_any_bytes_get_an_answer_or_silence(data: bytes) -> None:
    reply = Answers(lambda: policy("allow **"), StandIns()).answer(data)
    assert reply.data is None or reply.data[:2] == data[:2]


def test_a_full_table_forgets_the_name_used_longest_ago() -> None:
    names = StandIns(max_names=3)
    first, second, third = (names.address_of(HostName(f"{n}.x")) for n in "abc")
    assert names.name_of(first) == "a.x"  # used: now b is the oldest
    names.address_of(HostName("d.x"))
    assert names.name_of(second) is None
    assert (names.name_of(first), names.name_of(third)) == ("a.x", "c.x")
    assert len(names) == 3


@given(st.lists(st.integers(0, 60), max_size=200))
def test_no_two_names_share_a_stand_in(asked: list[int]) -> None:
    names = StandIns(max_names=20)
    for number in asked:
        name = HostName(f"n{number}.x")
        address = names.address_of(name)
        assert address in STAND_INS
        assert names.name_of(address) == name
        assert len(names) <= 20


def test_a_name_gets_the_same_stand_in_in_another_run() -> None:
    name = HostName("example.com")
    assert StandIns().address_of(name) == StandIns().address_of(name)
