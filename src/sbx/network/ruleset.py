# SPDX-License-Identifier: Apache-2.0
"""The nftables rules of a sandbox's namespace, as text: pure, applied in one transaction elsewhere.

Two floors. The `netdev` table sees every frame that the guest sends, whatever its kind, before
the host's network stack does; the `inet` table guards the stack itself in all three directions.
Both drop by default, and each kind of drop has a counter of its own. What is accepted is named by
`Link`: today only calls from the host to the guest; a way out will be one more field of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
_STACK_HOOKS = ("input", "forward", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One TAP: the host's end is the gateway, the guest's end has one MAC and one IPv4 address."""

    device: str
    gateway: str
    gateway_mac: str
    guest: str
    guest_mac: str
    calls: tuple[int, ...] = ()  # TCP ports of the guest that the host may connect to


SANDBOX_LINK = Link(
    device=addresses.SANDBOX_TAP,
    gateway=addresses.GATEWAY,
    gateway_mac=addresses.GATEWAY_MAC,
    guest=addresses.SANDBOX,
    guest_mac=addresses.SANDBOX_MAC,
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
    for link in links:
        lines += ["", *_frame_chain(link)]
    lines += ["}", "", f"table inet {TABLE} {{"]
    lines += [f"\tcounter {hook} {{ }}" for hook in _STACK_HOOKS]
    for hook in _STACK_HOOKS:
        accepts = [rule for link in links for rule in _stack_accepts(link, hook)]
        lines += ["", *_stack_chain(hook, accepts)]
    return "\n".join([*lines, "}", ""])


def _frame_counters(link: Link) -> Iterator[str]:
    for kind in ("spoofed", *(name for name, _ in _KINDS), "other"):
        yield f"{link.device}_{kind}"


def _frame_chain(link: Link) -> Iterator[str]:
    yield f"\tchain {link.device} {{"
    yield f'\t\ttype filter hook ingress device "{link.device}" priority filter; policy drop;'
    yield f'\t\tether saddr != {link.guest_mac} counter name "{link.device}_spoofed" drop'
    if link.calls:
        # The guest may ask for the gateway's address and nothing else, as itself.
        yield (
            f"\t\tarp operation request arp saddr ether {link.guest_mac} "
            f"arp saddr ip {link.guest} arp daddr ip {link.gateway} accept"
        )
    for port in link.calls:
        yield f"\t\tip saddr {link.guest} ip daddr {link.gateway} tcp sport {port} accept"
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


def _stack_chain(hook: str, accepts: Sequence[str]) -> Iterator[str]:
    yield f"\tchain {hook} {{"
    yield f"\t\ttype filter hook {hook} priority filter; policy drop;"
    for rule in accepts:
        yield f"\t\t{rule}"
    yield f'\t\tcounter name "{hook}" drop'
    yield "\t}"
