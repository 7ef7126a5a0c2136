# SPDX-License-Identifier: Apache-2.0
"""The nftables rules of a sandbox's namespace, as text: pure, applied in one transaction elsewhere.

Two floors. The `netdev` table sees every frame that the guest sends, whatever its kind, before
the host's network stack does; the `inet` table guards the stack itself in all three directions.
Both drop by default, and each kind of drop has a counter of its own. What is accepted is named by
`Link`: calls from the host to the guest, and the ways out, which are services of the supervisor on
the gateway. All other TCP of the guest is redirected to one of them, wherever it was going.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sbx.sandbox import addresses

TABLE = "opensbx"

# Kind of drop -> what matches it, in the order of evaluation; `other` takes what is left.
_KINDS = (
    ("arp", "ether type arp"),
    ("ipv6", "ether type ip6"),
    ("tcp", "ip protocol tcp"),
    ("udp", "ip protocol udp"),
    ("icmp", "ip protocol icmp"),
)
# Sets of ports of the guest that the host may call, by table; the frames of TCP pass anyway.
_FRAME_SETS = ("udp",)
_STACK_SETS = ("tcp", "udp")
_STACK_HOOKS = ("input", "forward", "output")
# Never a host of a network: this one, loopback, multicast, broadcast (RFC 6890, RFC 1112).
_NO_HOSTS = "{ 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4, 255.255.255.255 }"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A port of the gateway that the guest may call."""

    protocol: Literal["tcp", "udp"]
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One TAP: the host's end is the gateway, the guest's end has one MAC and one IPv4 address."""

    device: str
    gateway: str
    gateway_mac: str
    guest: str
    guest_mac: str
    calls: tuple[int, ...] = ()  # TCP ports of the guest that the host may connect to
    services: tuple[Service, ...] = ()  # what the guest may call at the gateway
    redirect: int | None = None  # TCP port of the gateway where all other TCP of the guest ends
    has_guest_ports: bool = False  # the host may call ports of the guest, see `render_guest_ports`

    @property
    def listeners(self) -> tuple[Service, ...]:
        """Every port of the gateway that somebody has to listen on, in a fixed order."""
        ends = () if self.redirect is None else (Service(protocol="tcp", port=self.redirect),)
        return (*self.services, *ends)


SANDBOX_LINK = Link(
    device=addresses.SANDBOX_TAP,
    gateway=addresses.GATEWAY,
    gateway_mac=addresses.GATEWAY_MAC,
    guest=addresses.SANDBOX,
    guest_mac=addresses.SANDBOX_MAC,
    services=(
        Service(protocol="udp", port=addresses.DNS_PORT),
        Service(protocol="tcp", port=addresses.DNS_PORT),
        Service(protocol="tcp", port=addresses.PROXY_PORT),
    ),
    redirect=addresses.TRANSPARENT_PORT,
    has_guest_ports=True,
)
MANAGEMENT_LINK = Link(
    device=addresses.MANAGEMENT_TAP,
    gateway=addresses.MANAGEMENT_GATEWAY,
    gateway_mac=addresses.MANAGEMENT_GATEWAY_MAC,
    guest=addresses.MANAGEMENT,
    guest_mac=addresses.MANAGEMENT_MAC,
    calls=(addresses.AGENT_PORT,),
)


def render_ruleset(links: Sequence[Link]) -> str:
    """The whole ruleset for `nft -f -`, which applies it as one transaction or not at all."""
    lines = [f"table netdev {TABLE} {{"]
    for link in links:
        lines += [f"\tcounter {name} {{ }}" for name in _frame_counters(link)]
    lines += _guest_port_sets(links, _FRAME_SETS)
    for link in links:
        lines += ["", *_frame_chain(link)]
    lines += ["}", "", f"table inet {TABLE} {{"]
    lines += [f"\tcounter {hook} {{ }}" for hook in _STACK_HOOKS]
    lines += _guest_port_sets(links, _STACK_SETS)
    for hook in _STACK_HOOKS:
        accepts = [rule for link in links for rule in _stack_accepts(link, hook)]
        lines += ["", *_stack_chain(hook, accepts)]
    for link in links:
        if link.redirect is not None:
            lines += ["", *_redirect_chain(link, link.redirect)]
    return "\n".join([*lines, "}", ""])


def render_guest_ports(link: Link, *, tcp: Iterable[int], udp: Iterable[int]) -> str:
    """The change that lets the host call just these ports of the guest; none are open at first."""
    lines: list[str] = []
    ports = {"tcp": sorted(set(tcp)), "udp": sorted(set(udp))}
    for table, kinds in (("netdev", _FRAME_SETS), ("inet", _STACK_SETS)):
        for kind in kinds:
            name = f"{table} {TABLE} {link.device}_guest_{kind}"
            lines.append(f"flush set {name}")
            if ports[kind]:
                lines.append(f"add element {name} {{ {', '.join(map(str, ports[kind]))} }}")
    return "\n".join([*lines, ""])


def _guest_port_sets(links: Sequence[Link], kinds: Sequence[str]) -> list[str]:
    devices = [link.device for link in links if link.has_guest_ports]
    return [
        f"\tset {device}_guest_{kind} {{ type inet_service; }}"
        for device in devices
        for kind in kinds
    ]


def _frame_counters(link: Link) -> Iterator[str]:
    for kind in ("spoofed", *(name for name, _ in _KINDS), "other"):
        yield f"{link.device}_{kind}"


def _frame_chain(link: Link) -> Iterator[str]:
    yield f"\tchain {link.device} {{"
    yield f'\t\ttype filter hook ingress device "{link.device}" priority filter; policy drop;'
    yield f'\t\tether saddr != {link.guest_mac} counter name "{link.device}_spoofed" drop'
    if link.calls or link.listeners:
        # The guest may ask for the gateway's address and nothing else, as itself.
        yield (
            f"\t\tarp operation request arp saddr ether {link.guest_mac} "
            f"arp saddr ip {link.guest} arp daddr ip {link.gateway} accept"
        )
    for port in link.calls:
        yield f"\t\tip saddr {link.guest} ip daddr {link.gateway} tcp sport {port} accept"
    for service in link.services:
        yield (
            f"\t\tip saddr {link.guest} ip daddr {link.gateway} "
            f"{service.protocol} dport {service.port} accept"
        )
    if link.has_guest_ports:
        # TCP comes under the next rule. Whether it is an answer is for the stack's table to know.
        yield (
            f"\t\tip saddr {link.guest} ip daddr {link.gateway} "
            f"udp sport @{link.device}_guest_udp accept"
        )
    if link.redirect is not None:
        yield f"\t\tip saddr {link.guest} ip daddr != {_NO_HOSTS} ip protocol tcp accept"
    for kind, match in _KINDS:
        yield f'\t\t{match} counter name "{link.device}_{kind}" drop'
    yield f'\t\tcounter name "{link.device}_other" drop'
    yield "\t}"


def _stack_accepts(link: Link, hook: str) -> Iterator[str]:
    for port in link.calls:
        if hook == "output":
            yield (
                f'oifname "{link.device}" ip saddr {link.gateway} ip daddr {link.guest} '
                f"tcp dport {port} ct state new,established accept"
            )
        elif hook == "input":
            yield (
                f'iifname "{link.device}" ip saddr {link.guest} ip daddr {link.gateway} '
                f"tcp sport {port} ct state established accept"
            )
    for service in link.listeners:
        if hook == "input":
            yield (
                f'iifname "{link.device}" ip saddr {link.guest} ip daddr {link.gateway} '
                f"{service.protocol} dport {service.port} ct state new,established accept"
            )
        elif hook == "output":
            yield (
                f'oifname "{link.device}" ip saddr {link.gateway} ip daddr {link.guest} '
                f"{service.protocol} sport {service.port} ct state established accept"
            )
    yield from _guest_port_accepts(link, hook)


def _guest_port_accepts(link: Link, hook: str) -> Iterator[str]:
    for kind in _STACK_SETS if link.has_guest_ports else ():
        if hook == "output":
            yield (
                f'oifname "{link.device}" ip saddr {link.gateway} ip daddr {link.guest} '
                f"{kind} dport @{link.device}_guest_{kind} ct state new,established accept"
            )
        elif hook == "input":
            yield (
                f'iifname "{link.device}" ip saddr {link.guest} ip daddr {link.gateway} '
                f"{kind} sport @{link.device}_guest_{kind} ct state established accept"
            )


def _stack_chain(hook: str, accepts: Sequence[str]) -> Iterator[str]:
    yield f"\tchain {hook} {{"
    yield f"\t\ttype filter hook {hook} priority filter; policy drop;"
    for rule in accepts:
        yield f"\t\t{rule}"
    yield f'\t\tcounter name "{hook}" drop'
    yield "\t}"


def _redirect_chain(link: Link, port: int) -> Iterator[str]:
    """Where TCP of the guest ends; whether it may is decided by the frame chain and by `input`."""
    yield f"\tchain {link.device}_redirect {{"
    yield "\t\ttype nat hook prerouting priority dstnat; policy accept;"
    for service in link.services:
        if service.protocol == "tcp":
            yield (
                f'\t\tiifname "{link.device}" ip daddr {link.gateway} '
                f"tcp dport {service.port} accept"
            )
    yield f'\t\tiifname "{link.device}" meta l4proto tcp redirect to :{port}'
    yield "\t}"
