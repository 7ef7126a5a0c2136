# SPDX-License-Identifier: Apache-2.0
"""What DNS answers (the table in docs/proxy.md). Nothing here asks anybody: an allowed name gets a
stand-in address, every other name does not exist, and so a lookup carries no data out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from sbx.policy.engine import Policy
from sbx.policy.hosts import LOCALHOST, BadHostError, HostName, parse_host
from sbx.policy.rules import Decision, DenyKind
from sbx.proxy.dns.message import (
    IN,
    BadQueryError,
    Query,
    Rcode,
    RecordType,
    build_answer,
    build_error,
    parse_query,
)
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.targets import GATEWAY_NAMES
from sbx.sandbox.addresses import GATEWAY

TTL_S = 30
_GATEWAY = IPv4Address(GATEWAY)
_NOT_ANSWERED = (RecordType.ANY, RecordType.AXFR, RecordType.IXFR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, and what was decided about the name if it came to that."""

    data: bytes | None  # None: say nothing
    name: str = ""
    decision: Decision | None = None
    malformed: str = ""  # why it was no question


class Answers:
    """Answers questions by the policy that holds at that moment."""

    def __init__(self, policy: Callable[[], Policy], names: StandIns) -> None:
        self._policy = policy
        self._names = names

    def answer(self, data: bytes) -> Reply:
        """The answer to a message of the guest, whatever it holds."""
        try:
            query = parse_query(data)
        except BadQueryError as error:
            reply = build_error(error.header, error.rcode) if error.rcode is not None else None
            return Reply(data=reply, malformed=error.why)
        if query.edns:
            return Reply(data=build_answer(query, Rcode.BADVERS), malformed="unknown EDNS version")
        if query.record_class != IN or query.type in _NOT_ANSWERED:
            return Reply(data=build_answer(query, Rcode.REFUSED), name=query.name)
        if query.name.lower() in GATEWAY_NAMES:
            return Reply(data=_found(query, _GATEWAY), name=query.name)
        return self._decide(query)

    def _decide(self, query: Query) -> Reply:
        try:
            host = parse_host(query.name)
        except BadHostError as error:
            host, decision = None, _denied(error.message)
        else:
            if not isinstance(host, str) or host == LOCALHOST:
                host, decision = None, _denied("not a name that DNS answers for")
            else:
                decision = self._policy().lookup(host)
        if host is None or not decision.allowed:
            answer = build_answer(query, Rcode.NXDOMAIN)
        else:
            answer = self._allowed(query, host)
        return Reply(data=answer, name=query.name, decision=decision)

    def _allowed(self, query: Query, host: HostName) -> bytes:
        # Other types exist for nobody: IPv6 ends at the sandbox's link, HTTPS and SVCB would lead
        # to other ports, to addresses of their own and to encrypted names.
        address = self._names.address_of(host) if query.type == RecordType.A else None
        return _found(query, address)


def _found(query: Query, address: IPv4Address | None) -> bytes:
    shown = address if query.type == RecordType.A else None
    return build_answer(query, Rcode.NOERROR, shown, ttl_s=TTL_S)


def _denied(reason: str) -> Decision:
    return Decision(allowed=False, kind=DenyKind.AMBIGUOUS, reason=reason)
