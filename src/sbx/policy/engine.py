# SPDX-License-Identifier: Apache-2.0
"""Decisions: may this name be looked up, this connection be made, this address be dialled, this
request be sent?

The order (docs/policy.md): a deny beats every allow; a rule about connections that denies is a
floor under the rules about requests; without an allow it is a deny. An address that is not public
is refused unless a rule names it. What cannot be read in one way only is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sbx.policy.addresses import Kind, describe, facets, names_block, special_block
from sbx.policy.hosts import LOCALHOST, Address, Endpoint, Host, HostName, Protocol, unmapped
from sbx.policy.index import ANY_PORT, Entry, Index, Leaf, Ports, Requests, compile_index, first
from sbx.policy.paths import plain_path
from sbx.policy.rules import Decision, DenyKind, Rule

_NOT_ALLOWED = Decision(
    allowed=False, kind=DenyKind.DEFAULT, reason="no matching allow rule (default deny)"
)
# What a rule marked as private opens: networks that sites use inside, reserved ranges among them.
_PRIVATE = (Kind.PRIVATE, Kind.SHARED, Kind.RESERVED)


@dataclass(frozen=True, slots=True)
class _Facts:
    """The rules that speak of an endpoint."""

    allow: list[Leaf]  # a wildcard does not allow the host's own loopback
    deny: list[Leaf]


class Policy:
    """The rules that hold for one sandbox, compiled; never changes."""

    __slots__ = ("_closed", "_index")

    def __init__(self, index: Index, closed: Decision | None = None) -> None:
        self._index = index
        self._closed = closed

    def lookup(self, name: HostName) -> Decision:
        """May DNS answer for this name? Yes if some connection to it could be allowed."""
        if self._closed:
            return self._closed
        facts = self._facts(name)
        denied: Entry | None = None
        for protocol in Protocol:
            any_deny = _lowest(_on(leaf.deny.get(protocol), ANY_PORT) for leaf in facts.deny)
            if any_deny is not None:
                denied = first(denied, any_deny)
                continue
            shut = [ports for leaf in facts.deny if (ports := leaf.deny.get(protocol))]
            if allowed := _lowest(_open_port(leaf, protocol, shut) for leaf in facts.allow):
                return _allow(allowed)
        return _deny(denied) if denied else _NOT_ALLOWED

    def connection(self, to: Endpoint) -> Decision:
        """May a connection be made there? For a name: before its address is known."""
        if self._closed:
            return self._closed
        decision = self._rules(to)
        if decision.allowed and not isinstance(to.host, str):
            return self._address(to, to.host, decision)
        return decision

    def dial(self, to: Endpoint, address: Address) -> Decision:
        """May the connection go to this address? To be asked at every attempt to connect."""
        if self._closed:
            return self._closed
        decision = self._rules(to)
        if not decision.allowed:
            return decision
        address = unmapped(address)
        if not isinstance(to.host, str) and to.host != address:
            reason = f"{address} is not the address that was asked for"
            return Decision(allowed=False, kind=DenyKind.ADDRESS, reason=reason)
        return self._address(to, address, decision)

    def request(self, to: Endpoint, method: str, target: str) -> Decision:
        """May this request be sent there? `target` is its path and query."""
        if self._closed:
            return self._closed
        facts = self._facts(to.host)
        if denied := _port_rule(facts.deny, to.port, to.protocol, denies=True):
            return _deny(denied)
        denies = _requests(facts.deny, to.port, denies=True)
        allows = _requests(facts.allow, to.port, denies=False)
        path = plain_path(target) if denies or allows else None
        if found := _lowest(one.find(method.upper(), path) for one in denies):
            return _deny(found)
        if path is None and (
            any(one.needs_path(method.upper()) for one in denies)
            or any(one.needs_path(method) for one in allows)
        ):
            reason = "its path can be read in more than one way, and rules here look at paths"
            return Decision(allowed=False, kind=DenyKind.AMBIGUOUS, reason=reason)
        found = _lowest(one.find(method, path) for one in allows)
        found = first(found, _port_rule(facts.allow, to.port, to.protocol, denies=False))
        return _allow(found, inspect=bool(denies or allows)) if found else _NOT_ALLOWED

    def _facts(self, host: Host) -> _Facts:
        if not isinstance(host, str):
            allow = [self._index.any, *self._index.by_address(host)]
            return _Facts(allow, [self._index.any, *self._index.by_facets(host)])
        found = self._index.by_name(host)
        return _Facts(self._index.exact(host) if host == LOCALHOST else found, found)

    def _rules(self, to: Endpoint) -> Decision:
        facts = self._facts(to.host)
        if denied := _port_rule(facts.deny, to.port, to.protocol, denies=True):
            return _deny(denied)
        is_tcp = to.protocol is Protocol.TCP
        denies = _requests(facts.deny, to.port, denies=True) if is_tcp else []
        allows = _requests(facts.allow, to.port, denies=False) if is_tcp else []
        found = _port_rule(facts.allow, to.port, to.protocol, denies=False)
        if found is None and allows:
            found = _lowest(_ported(leaf.first_http_allow, to.port) for leaf in facts.allow)
        return _allow(found, inspect=bool(denies or allows)) if found else _NOT_ALLOWED

    def _address(self, to: Endpoint, address: Address, decision: Decision) -> Decision:
        """The decision of the rules for an endpoint, after a look at the address."""
        leaves = self._index.by_facets(address)
        if denied := _port_rule(leaves, to.port, to.protocol, denies=True):
            return _deny(denied)
        if all(self._may_dial(to, facet) for facet in facets(address)):
            return decision
        where = "it" if to.host == address else f"{to.host} is at {address}, which"
        reason = f"{where} is {describe(address)} that no rule names"
        return Decision(allowed=False, kind=DenyKind.ADDRESS, reason=reason, address=address)

    def _may_dial(self, to: Endpoint, address: Address) -> bool:
        block = special_block(address)
        if block is None:
            return True
        network, kind = block
        if to.host == LOCALHOST and kind is Kind.LOOPBACK:
            return True  # allowed by a rule on `localhost`, which is its name
        if kind in _PRIVATE and any(
            _ported(leaf.private.get(to.protocol), to.port) for leaf in self._facts(to.host).allow
        ):
            return True
        return any(
            entry is not None
            and entry.resource.network is not None
            and names_block(entry.resource.network, address, network)
            for leaf in self._index.by_address(address)
            for entry in _naming(leaf, to)
        )


def compile_policy(rules: Iterable[Rule], *, sandbox: str | None = None) -> Policy:
    """The rules that hold for a sandbox; without one, those that hold for all."""
    return Policy(compile_index([r for r in rules if r.sandbox is None or r.sandbox == sandbox]))


def closed_policy(kind: DenyKind, reason: str) -> Policy:
    """A policy that denies everything, for one reason."""
    return Policy(Index(), Decision(allowed=False, kind=kind, reason=reason))


def _lowest(found: Iterable[Entry | None]) -> Entry | None:
    best: Entry | None = None
    for entry in found:
        best = first(best, entry)
    return best


def _on(ports: Ports | None, port: int) -> Entry | None:
    return ports.get(port) if ports else None


def _ported(ports: Ports | None, port: int) -> Entry | None:
    return first(ports.get(port), ports.get(ANY_PORT)) if ports else None


def _port_rule(leaves: list[Leaf], port: int, protocol: Protocol, *, denies: bool) -> Entry | None:
    best: Entry | None = None
    for leaf in leaves:
        ports = (leaf.deny if denies else leaf.allow).get(protocol)
        if ports:
            best = first(best, _ported(ports, port))
    return best


def _requests(leaves: list[Leaf], port: int, *, denies: bool) -> list[Requests]:
    return [
        requests
        for leaf in leaves
        if (by_port := leaf.http_deny if denies else leaf.http_allow)
        for key in (port, ANY_PORT)
        if (requests := by_port.get(key))
    ]


def _open_port(leaf: Leaf, protocol: Protocol, shut: list[Ports]) -> Entry | None:
    """An allow of a leaf for a port that no deny shuts."""
    http = leaf.first_http_allow if protocol is Protocol.TCP else None
    for ports in (leaf.allow.get(protocol), http):
        for port, entry in (ports or {}).items():
            if not any(port in denied for denied in shut):
                return entry
    return None


def _naming(leaf: Leaf, to: Endpoint) -> Iterable[Entry | None]:
    yield _ported(leaf.allow.get(to.protocol), to.port)
    if to.protocol is Protocol.TCP:
        yield _ported(leaf.first_http_allow, to.port)


def _allow(entry: Entry, *, inspect: bool = False) -> Decision:
    reason = f"allowed by rule {entry.rule.name} ({entry.resource})"
    return Decision(
        allowed=True, reason=reason, rule=entry.rule, resource=entry.resource, inspect=inspect
    )


def _deny(entry: Entry) -> Decision:
    reason = f"denied by rule {entry.rule.name} ({entry.resource})"
    return Decision(
        allowed=False,
        reason=reason,
        kind=DenyKind.RULE,
        rule=entry.rule,
        resource=entry.resource,
    )
