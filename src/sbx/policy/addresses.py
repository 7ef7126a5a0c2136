# SPDX-License-Identifier: Apache-2.0
"""What an address is for: public, or one of the kinds that are refused unless a rule names them.

The ranges are those of the IANA special-purpose registries (RFC 6890 and its successors) and the
fixed addresses at which clouds hand out credentials. An IPv4 address inside an IPv6 one (mapped,
compatible, 6to4, NAT64) counts as well: such a wrapping must not be a way around a rule.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from sbx.policy.hosts import Address

Network = IPv4Network | IPv6Network


class Kind(StrEnum):
    """What an address is for."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SHARED = "shared"  # 100.64.0.0/10, between providers and their customers
    LINK_LOCAL = "link-local"
    METADATA = "metadata"  # a cloud's own services: credentials for whoever asks
    MULTICAST = "multicast"
    RESERVED = "reserved"


# Fixed addresses of cloud metadata services. Each is named only by itself, never by a range.
METADATA = (
    "169.254.169.254",  # AWS, Azure, Google Cloud, OpenStack and most others
    "169.254.170.2",  # AWS: credentials of containers
    "169.254.170.23",  # AWS: credentials of pods
    "169.254.42.42",  # Scaleway
    "169.254.0.23",  # Tencent Cloud
    "100.100.100.200",  # Alibaba Cloud
    "168.63.129.16",  # Azure's agent, in a public range
    "192.0.0.192",  # Oracle Cloud
    "fd00:ec2::254",  # AWS
    "fd00:ec2::23",  # AWS: credentials of pods
    "fd20:ce::254",  # Google Cloud
    "fd00:42::42",  # Scaleway
    "fe80::a9fe:a9fe",  # OpenStack
)

_SPECIAL: tuple[tuple[str, Kind], ...] = (
    *((address, Kind.METADATA) for address in METADATA),
    ("0.0.0.0/8", Kind.LOOPBACK),  # who connects to 0.0.0.0 reaches the host itself
    ("10.0.0.0/8", Kind.PRIVATE),
    ("100.64.0.0/10", Kind.SHARED),
    ("127.0.0.0/8", Kind.LOOPBACK),
    ("169.254.0.0/16", Kind.LINK_LOCAL),
    ("172.16.0.0/12", Kind.PRIVATE),
    ("192.0.0.0/24", Kind.RESERVED),
    ("192.0.2.0/24", Kind.RESERVED),
    ("192.88.99.0/24", Kind.RESERVED),
    ("192.168.0.0/16", Kind.PRIVATE),
    ("198.18.0.0/15", Kind.RESERVED),  # also our own stand-in addresses
    ("198.51.100.0/24", Kind.RESERVED),
    ("203.0.113.0/24", Kind.RESERVED),
    ("224.0.0.0/4", Kind.MULTICAST),
    ("240.0.0.0/4", Kind.RESERVED),
    ("::", Kind.LOOPBACK),
    ("::1", Kind.LOOPBACK),
    ("64:ff9b:1::/48", Kind.PRIVATE),  # NAT64 of a site
    ("2001::/23", Kind.RESERVED),  # Teredo, ORCHID and others
    ("2001:db8::/32", Kind.RESERVED),
    ("2002::/16", Kind.RESERVED),  # 6to4, retired
    ("3fff::/20", Kind.RESERVED),
    ("fc00::/7", Kind.PRIVATE),
    ("fe80::/10", Kind.LINK_LOCAL),
    ("fec0::/10", Kind.PRIVATE),  # site-local, retired
    ("ff00::/8", Kind.MULTICAST),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = IPv6Network("::/96")


def _by_length(version: int) -> tuple[tuple[int, dict[int, tuple[Network, Kind]]], ...]:
    """Networks of one version by mask, longest first."""
    found: dict[int, dict[int, tuple[Network, Kind]]] = {}
    for text, kind in _SPECIAL:
        network = ip_network(text)
        if network.version == version:
            key = int(network.network_address)
            found.setdefault(network.prefixlen, {})[key] = (network, kind)
    return tuple(sorted(((n, nets) for n, nets in found.items()), reverse=True))


_BY_LENGTH = {4: _by_length(4), 6: _by_length(6)}


@lru_cache(maxsize=4096)
def special_block(address: Address) -> tuple[Network, Kind] | None:
    """The special block that an address itself lies in, or None for a public one."""
    number, width = int(address), address.max_prefixlen
    for length, networks in _BY_LENGTH[address.version]:
        if found := networks.get(number >> (width - length) << (width - length)):
            return found
    if isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST or address in _NAT64:
        return None
    return IPv6Network(address), Kind.RESERVED  # not given out by anybody: only named by itself


def facets(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address inside it if there is one."""
    if isinstance(address, IPv4Address):
        return (address,)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or address in _V4_COMPATIBLE) and int(address) > 1:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,) if inner is None else (address, inner)


def classify(address: Address) -> Kind:
    """The kind of an address; what it wraps decides if that is special."""
    for facet in reversed(facets(address)):
        if block := special_block(facet):
            return block[1]
    return Kind.PUBLIC


def names_block(network: Network, address: Address, block: Network) -> bool:
    """Whether a rule on `network` speaks of this special address, not just of a wider range."""
    return address in network and network.prefixlen >= block.prefixlen


def describe(address: Address) -> str:
    """The kind of an address, for a sentence."""
    kind = classify(address)
    return {
        Kind.PUBLIC: "a public address",
        Kind.LOOPBACK: "a loopback address of the host",
        Kind.PRIVATE: "a private address",
        Kind.SHARED: "a shared (carrier) address",
        Kind.LINK_LOCAL: "a link-local address",
        Kind.METADATA: "a cloud metadata address",
        Kind.MULTICAST: "a multicast address",
        Kind.RESERVED: "a reserved address",
    }[kind]
