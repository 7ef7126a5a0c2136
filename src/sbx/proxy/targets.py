# SPDX-License-Identifier: Apache-2.0
"""Where a connection of the guest leads, and whether the names that it shows agree."""

from __future__ import annotations

from ipaddress import IPv4Address

from sbx.policy.engine import Policy
from sbx.policy.hosts import LOCALHOST, Address, Endpoint, Host, parse_host, show_host
from sbx.policy.rules import Decision, DenyKind
from sbx.proxy.dns.standins import STAND_INS, StandIns
from sbx.sandbox.addresses import GATEWAY, GATEWAY_NAME, HOST_NAME

# What the sandbox calls the host; a port of it is `localhost:PORT` in a rule.
GATEWAY_NAMES = frozenset({GATEWAY_NAME, HOST_NAME})
_GATEWAY = IPv4Address(GATEWAY)


class UnknownTargetError(Exception):
    """An address out of the stand-ins that stands for no name (any more)."""


def target_of(host: Host, port: int, names: StandIns) -> Endpoint:
    """The endpoint that the guest means with a name or address.

    Raises:
        UnknownTargetError: nobody was told this stand-in address.
    """
    if isinstance(host, str):
        return Endpoint(host=_own_name(host), port=port)
    if host == _GATEWAY:
        return Endpoint(host=LOCALHOST, port=port)
    if host in STAND_INS:
        name = names.name_of(host)
        if name is None:
            raise UnknownTargetError(f"{host} stands for no name: look the name up again")
        return Endpoint(host=name, port=port)
    return Endpoint(host=host, port=port)


def agreed(policy: Policy, to: Endpoint, said: Host | None, where: str) -> Decision | None:
    """A denial if the host that traffic names is not the one it goes to, or None if they agree.

    `where` says what was read, such as "server name in the TLS hello". Traffic to an address may
    name any host that no rule denies, or none.
    """
    if isinstance(to.host, str):
        if said is None:
            return _denied(f"there is no {where}, which must be {to.host}")
        if _own_name(said) != to.host:
            return _denied(f"the {where} is {show_host(said)}, not {to.host}")
        return None
    if said is None or said == to.host:
        return None
    decision = policy.connection(Endpoint(host=_own_name(said), port=to.port))
    return decision if not decision.allowed and decision.kind is not DenyKind.DEFAULT else None


def unreadable(decision: Decision) -> Decision:
    """The denial of traffic whose requests rules speak of and that cannot be read."""
    return Decision(
        allowed=False,
        kind=DenyKind.AMBIGUOUS,
        reason="HTTP rules speak of its requests, and this traffic cannot be read",
        rule=decision.rule,
        resource=decision.resource,
    )


def address_of(text: str) -> Address:
    """An address as the kernel writes it.

    Raises:
        BadHostError: it is none.
    """
    host = parse_host(f"[{text}]" if ":" in text else text)
    if isinstance(host, str):
        raise UnknownTargetError(f"{host} is no address")
    return host


def _own_name(host: Host) -> Host:
    return LOCALHOST if host in GATEWAY_NAMES or host == _GATEWAY else host


def _denied(reason: str) -> Decision:
    return Decision(allowed=False, kind=DenyKind.AMBIGUOUS, reason=reason)
