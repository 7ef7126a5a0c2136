# SPDX-License-Identifier: Apache-2.0
"""Every address that is not plainly public is known for what it is, however it is wrapped."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.policy.addresses import (
    METADATA,
    Kind,
    classify,
    describe,
    facets,
    names_block,
    special_block,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", Kind.PUBLIC),
        ("1.1.1.1", Kind.PUBLIC),
        ("2606:4700::1111", Kind.PUBLIC),
        ("0.0.0.0", Kind.LOOPBACK),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.255.255.254", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("::", Kind.LOOPBACK),
        ("10.255.0.1", Kind.PRIVATE),
        ("172.16.0.1", Kind.PRIVATE),
        ("172.32.0.1", Kind.PUBLIC),
        ("192.168.1.1", Kind.PRIVATE),
        ("fd12::1", Kind.PRIVATE),
        ("fec0::1", Kind.PRIVATE),
        ("100.64.0.1", Kind.SHARED),
        ("100.127.255.255", Kind.SHARED),
        ("100.128.0.0", Kind.PUBLIC),
        ("169.254.0.1", Kind.LINK_LOCAL),
        ("fe80::1", Kind.LINK_LOCAL),
        ("224.0.0.1", Kind.MULTICAST),
        ("ff02::1", Kind.MULTICAST),
        ("255.255.255.255", Kind.RESERVED),
        ("198.18.0.1", Kind.RESERVED),
        ("192.0.2.1", Kind.RESERVED),
        ("2001:db8::1", Kind.RESERVED),
        ("4000::1", Kind.RESERVED),
        # IPv4 inside IPv6
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("::ffff:169.254.169.254", Kind.METADATA),
        ("::127.0.0.1", Kind.LOOPBACK),
        ("::a00:1", Kind.PRIVATE),
        ("64:ff9b::7f00:1", Kind.LOOPBACK),
        ("64:ff9b::a9fe:a9fe", Kind.METADATA),
        ("64:ff9b::8.8.8.8", Kind.PUBLIC),
        ("64:ff9b:1::1", Kind.PRIVATE),
        ("2002:7f00:1::", Kind.LOOPBACK),
        ("2002:a9fe:a9fe::1", Kind.METADATA),
        ("2002:808:808::", Kind.RESERVED),
        ("2001:0:1::1", Kind.RESERVED),
    ],
)
def test_kinds(text: str, kind: Kind) -> None:
    assert classify(ip_address(text)) is kind


@pytest.mark.parametrize("text", METADATA)
def test_metadata_addresses(text: str) -> None:
    assert classify(ip_address(text)) is Kind.METADATA
    assert "metadata" in describe(ip_address(text))


@given(st.ip_addresses(v=4))
def test_nothing_is_public_that_python_says_is_not(address: IPv4Address) -> None:
    if classify(address) is Kind.PUBLIC:
        assert address.is_global


@given(st.ip_addresses(v=6))
def test_nothing_of_ipv6_is_public_that_python_says_is_not(address: IPv6Address) -> None:
    if classify(address) is Kind.PUBLIC:
        assert address.is_global


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:", "64:ff9b::", "::"]))
def test_a_wrapping_hides_nothing(inner: IPv4Address, prefix: str) -> None:
    wrapped = IPv6Address(f"{prefix}{inner}")
    assert inner in facets(wrapped) or int(wrapped) <= 1
    if classify(inner) is not Kind.PUBLIC:
        assert classify(wrapped) is not Kind.PUBLIC


@pytest.mark.parametrize(
    ("network", "address", "named"),
    [
        ("10.0.0.0/8", "10.0.0.1", True),
        ("10.0.0.1/32", "10.0.0.1", True),
        ("0.0.0.0/0", "10.0.0.1", False),
        ("8.0.0.0/6", "10.0.0.1", False),
        ("169.254.0.0/16", "169.254.1.1", True),
        ("169.254.0.0/16", "169.254.169.254", False),
        ("169.254.169.254/32", "169.254.169.254", True),
        ("fc00::/7", "fd00::1", True),
        ("fc00::/7", "fd00:ec2::254", False),
        ("::/0", "4000::1", False),
        ("4000::1/128", "4000::1", True),
        ("10.0.0.0/8", "fd00::1", False),
    ],
)
def test_a_wide_range_names_no_special_address(network: str, address: str, *, named: bool) -> None:
    block = special_block(ip_address(address))
    assert block is not None
    assert names_block(ip_network(network), ip_address(address), block[0]) is named
