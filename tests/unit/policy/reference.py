# SPDX-License-Identifier: Apache-2.0
"""A slow, obvious policy to compare the compiled one with: every rule is looked at, in order.

It shares the parsed types with the engine, but neither its index nor its regular expressions.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbx.policy.addresses import Kind, facets, special_block
from sbx.policy.hosts import Address, Endpoint, Host, Protocol
from sbx.policy.paths import plain_path
from sbx.policy.patterns import Form, Resource
from sbx.policy.rules import Effect, Rule


@dataclass(frozen=True)
class Verdict:
    """What the engine's decision must say too."""

    allowed: bool
    rule: str | None = None
    resource: str | None = None
    inspect: bool = False


DENIED = Verdict(allowed=False)
Found = tuple[Rule, Resource]


def glob(pattern: str, text: str, stop: str) -> bool:
    """`*`, `?`, `[ab]` and `[!ab]`, one character after the other."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        ends = range(len(text) + 1)
        return any(glob(pattern[1:], text[n:], stop) for n in ends if stop not in text[:n])
    if pattern[0] == "[":
        inside, _, rest = pattern[1:].partition("]")
        if not text or text[0] == stop:
            return False
        hit = text[0] in inside.removeprefix("!")
        return hit != inside.startswith("!") and glob(rest, text[1:], stop)
    if not text or (text[0] == stop and pattern[0] == "?"):
        return False
    return pattern[0] in ("?", text[0]) and glob(pattern[1:], text[1:], stop)


def host_matches(resource: Resource, host: Host, *, deny: bool) -> bool:
    if not isinstance(host, str):
        if resource.form is Form.ANY:
            return True
        looked_at = facets(host) if deny else (host,)
        return resource.network is not None and any(a in resource.network for a in looked_at)
    if resource.form is Form.NAME or (host == "localhost" and not deny):
        return resource.form is Form.NAME and resource.host == host
    labels = host.split(".")
    match resource.form:
        case Form.ANY:
            return True
        case Form.CHILD:
            return labels[1:] == resource.host.split(".")
        case Form.TREE:
            return host == resource.host or host.endswith("." + resource.host)
        case Form.GLOB:
            parts = resource.host.split(".")
            return len(parts) == len(labels) and all(
                glob(part, label, ".") for part, label in zip(parts, labels, strict=True)
            )
        case _:
            return False


def path_matches(pattern: str, path: str, *, deny: bool) -> bool:
    if deny:
        pattern, path = pattern.lower(), path.lower()
        return any(
            segments_match(pattern.rstrip("/").split("/")[1:], way.split("/")[1:])
            for way in (path, path.removesuffix("/"))
        )
    return segments_match(pattern.split("/")[1:], path.split("/")[1:])


def segments_match(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(segments_match(pattern[1:], path[n:]) for n in range(len(path) + 1))
    return bool(path) and glob(pattern[0], path[0], "/") and segments_match(pattern[1:], path[1:])


class Reference:
    """The rules of one sandbox."""

    def __init__(self, rules: list[Rule], sandbox: str | None) -> None:
        self.rules = [rule for rule in rules if rule.sandbox in (None, sandbox)]

    def _matching(self, to: Endpoint, effect: Effect, *, http: bool) -> list[Found]:
        deny = effect is Effect.DENY
        return [
            (rule, resource)
            for rule in self.rules
            if rule.effect is effect and (rule.http is not None) is http
            if to.protocol in rule.protocols
            for resource in rule.resources
            if resource.port in (None, to.port) and host_matches(resource, to.host, deny=deny)
        ]

    def connection(self, to: Endpoint) -> Verdict:
        verdict = self._rules(to)
        if verdict.allowed and not isinstance(to.host, str):
            return self._address(to, to.host, verdict)
        return verdict

    def dial(self, to: Endpoint, address: Address) -> Verdict:
        verdict = self._rules(to)
        if not verdict.allowed:
            return verdict
        if not isinstance(to.host, str) and to.host != address:
            return DENIED
        return self._address(to, address, verdict)

    def lookup(self, host: Host) -> bool:
        ports = {r.port for rule in self.rules for r in rule.resources if r.port} | {65535}
        return any(
            self._rules(Endpoint(host=host, port=port, protocol=protocol)).allowed
            for port in ports
            for protocol in Protocol
        )

    def request(self, to: Endpoint, method: str, target: str) -> Verdict:
        if found := self._matching(to, Effect.DENY, http=False):
            return said(found[0], allowed=False)
        path = plain_path(target)
        denies = self._matching(to, Effect.DENY, http=True)
        allows = self._matching(to, Effect.ALLOW, http=True)
        hit = [one for one in denies if self._hits(one[0], method.upper(), path)]
        if hit:
            return said(hit[0], allowed=False)
        if path is None and any(
            rule.http and str(rule.http.path) != "/**"
            for rule, _ in denies + allows
            if speaks_of(rule, method.upper() if rule.effect is Effect.DENY else method)
        ):
            return DENIED
        hit = [one for one in allows if self._hits(one[0], method, path)]
        hit += self._matching(to, Effect.ALLOW, http=False)
        if not hit:
            return DENIED
        return said(self._first(hit), allowed=True, inspect=bool(denies or allows))

    def _hits(self, rule: Rule, method: str, path: str | None) -> bool:
        assert rule.http is not None
        if not speaks_of(rule, method):
            return False
        if str(rule.http.path) == "/**":
            return True
        deny = rule.effect is Effect.DENY
        return path is not None and path_matches(str(rule.http.path), path, deny=deny)

    def _rules(self, to: Endpoint) -> Verdict:
        if found := self._matching(to, Effect.DENY, http=False):
            return said(found[0], allowed=False)
        http = self._matching(to, Effect.ALLOW, http=True)
        inspect = bool(http or self._matching(to, Effect.DENY, http=True))
        found = self._matching(to, Effect.ALLOW, http=False) or http
        return said(found[0], allowed=True, inspect=inspect) if found else DENIED

    def _address(self, to: Endpoint, address: Address, verdict: Verdict) -> Verdict:
        at = Endpoint(host=address, port=to.port, protocol=to.protocol)
        if found := [
            one for one in self._matching(at, Effect.DENY, http=False) if one[1].network is not None
        ]:
            return said(found[0], allowed=False)
        return verdict if all(self._named(to, one) for one in facets(address)) else DENIED

    def _named(self, to: Endpoint, address: Address) -> bool:
        special = special_block(address)
        if special is None or (to.host == "localhost" and special[1] is Kind.LOOPBACK):
            return True
        allows = [
            one
            for http in (False, True)
            for one in self._matching(to, Effect.ALLOW, http=http)
            if one[0].private
        ]
        if allows and special[1] in (Kind.PRIVATE, Kind.SHARED, Kind.RESERVED):
            return True
        at = Endpoint(host=address, port=to.port, protocol=to.protocol)
        return any(
            resource.network is not None and resource.network.prefixlen >= special[0].prefixlen
            for http in (False, True)
            for _, resource in self._matching(at, Effect.ALLOW, http=http)
        )

    def _first(self, found: list[Found]) -> Found:
        order = [(r.id, str(res)) for r in self.rules for res in r.resources]
        return min(found, key=lambda one: order.index((one[0].id, str(one[1]))))


def speaks_of(rule: Rule, method: str) -> bool:
    assert rule.http is not None
    return not rule.http.methods or method in rule.http.methods


def said(found: Found, *, allowed: bool, inspect: bool = False) -> Verdict:
    return Verdict(allowed=allowed, rule=found[0].id, resource=str(found[1]), inspect=inspect)
