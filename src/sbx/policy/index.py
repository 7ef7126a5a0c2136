# SPDX-License-Identifier: Apache-2.0
"""Compiled rules: which of them speak of a host, found without looking at the others.

Exact names and the parents of `*.x` and `**.x` are keys of dictionaries; other globs are found by
the literal text at their two ends; address ranges by mask length. What a pattern says is a leaf:
the first rule for each port, since a later rule of the same pattern and port decides the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sbx.policy.addresses import facets
from sbx.policy.hosts import Address, HostName, Protocol
from sbx.policy.paths import PathGlob
from sbx.policy.patterns import Form, Resource, glob_regex, literal_ends
from sbx.policy.rules import Effect, Rule

ANY_PORT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One resource of one rule, with its place among all."""

    order: int
    rule: Rule
    resource: Resource


def first(found: Entry | None, other: Entry | None) -> Entry | None:
    """The entry that stands first."""
    if found is None or other is None:
        return found or other
    return found if found.order < other.order else other


Ports = dict[int, Entry]  # by port, ANY_PORT for a rule on all


@dataclass(slots=True)
class Requests:
    """The HTTP rules of one effect for one pattern and port, by the literal start of their path."""

    lenient: bool
    _by_start: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    _depth: int = 0
    _by_path: set[str] = field(default_factory=set[str])  # methods of rules that look at the path

    def add(self, path: PathGlob, methods: frozenset[str], entry: Entry) -> None:
        start = path.literal.lower() if self.lenient else path.literal
        self._by_start.setdefault(start, []).append(entry)
        self._depth = max(self._depth, start.count("/"))
        if not path.is_any:
            self._by_path |= methods or {""}

    def needs_path(self, method: str) -> bool:
        """Whether a rule for this method looks at the path."""
        return "" in self._by_path or method in self._by_path

    def find(self, method: str, path: str | None) -> Entry | None:
        """The first rule for a request; without a plain path, of those that do not look at it."""
        found: Entry | None = None
        for start in self._starts(path):
            for entry in self._by_start.get(start, ()):
                if found is not None and found.order < entry.order:
                    break
                if self._is_about(entry, method, path):
                    found = entry
                    break
        return found

    def _is_about(self, entry: Entry, method: str, path: str | None) -> bool:
        http = entry.rule.http
        assert http is not None
        if http.methods and method not in http.methods:
            return False
        return http.path.is_any or (
            path is not None and http.path.matches(path, lenient=self.lenient)
        )

    def _starts(self, path: str | None) -> Iterator[str]:
        yield ""
        if path is None:
            return
        text = path.lower() if self.lenient else path
        end = 0
        for _ in range(self._depth):
            end = text.find("/", end + 1)
            if end < 0:
                yield text
                return
            yield text[:end]


@dataclass(slots=True)
class Leaf:
    """What the rules say about one pattern of hosts."""

    allow: dict[Protocol, Ports] = field(default_factory=dict[Protocol, Ports])
    deny: dict[Protocol, Ports] = field(default_factory=dict[Protocol, Ports])
    http_allow: dict[int, Requests] = field(default_factory=dict[int, Requests])
    http_deny: dict[int, Requests] = field(default_factory=dict[int, Requests])
    first_http_allow: Ports = field(default_factory=Ports)
    private: dict[Protocol, Ports] = field(default_factory=dict[Protocol, Ports])

    def add(self, entry: Entry) -> None:
        port = entry.resource.port or ANY_PORT
        allows = entry.rule.effect is Effect.ALLOW
        if allows and entry.rule.private:
            for protocol in entry.rule.protocols:
                self.private.setdefault(protocol, {}).setdefault(port, entry)
        if entry.rule.http is None:
            by_protocol = self.allow if allows else self.deny
            for protocol in entry.rule.protocols:
                by_protocol.setdefault(protocol, {}).setdefault(port, entry)
            return
        if allows:
            self.first_http_allow.setdefault(port, entry)
        requests = (self.http_allow if allows else self.http_deny).setdefault(
            port, Requests(lenient=not allows)
        )
        requests.add(entry.rule.http.path, entry.rule.http.methods, entry)


@dataclass(slots=True)
class Globs:
    """Patterns of names with wildcards, by the literal text at their start and end."""

    # length of the end -> end -> length of the start -> start -> patterns
    _by_end: dict[int, dict[str, dict[int, dict[str, dict[str, Leaf]]]]] = field(
        default_factory=dict[int, dict[str, dict[int, dict[str, dict[str, Leaf]]]]]
    )

    def leaf(self, glob: str) -> Leaf:
        start, end = literal_ends(glob)
        by_start = self._by_end.setdefault(len(end), {}).setdefault(end, {})
        patterns = by_start.setdefault(len(start), {}).setdefault(start, {})
        return patterns.setdefault(glob, Leaf())

    def find(self, name: str) -> Iterator[Leaf]:
        for end_length, by_end in self._by_end.items():
            by_start = by_end.get(name[len(name) - end_length :])
            if by_start is None or end_length > len(name):
                continue
            for start_length, by_text in by_start.items():
                for glob, leaf in by_text.get(name[:start_length], {}).items():
                    if glob_regex(glob).fullmatch(name):
                        yield leaf


@dataclass(slots=True)
class Index:
    """All rules of one sandbox."""

    any: Leaf = field(default_factory=Leaf)
    _names: dict[str, Leaf] = field(default_factory=dict[str, Leaf])
    _children: dict[str, Leaf] = field(default_factory=dict[str, Leaf])
    _trees: dict[str, Leaf] = field(default_factory=dict[str, Leaf])
    _globs: Globs = field(default_factory=Globs)
    # version -> mask length -> network address -> leaf
    _networks: dict[int, dict[int, dict[int, Leaf]]] = field(
        default_factory=dict[int, dict[int, dict[int, Leaf]]]
    )

    def add(self, entry: Entry) -> None:
        self._leaf(entry.resource).add(entry)

    def by_name(self, name: HostName) -> list[Leaf]:
        """The leaves whose pattern matches a name."""
        found = [self.any]
        if exact := self._names.get(name):
            found.append(exact)
        if self._trees and (tree := self._trees.get(name)):
            found.append(tree)
        at = name.find(".")
        if at >= 0 and (child := self._children.get(name[at + 1 :])):
            found.append(child)
        while at >= 0 and self._trees:
            if tree := self._trees.get(name[at + 1 :]):
                found.append(tree)
            at = name.find(".", at + 1)
        found.extend(self._globs.find(name))
        return found

    def exact(self, name: HostName) -> list[Leaf]:
        """The leaf of the name itself, without wildcards."""
        return [leaf] if (leaf := self._names.get(name)) else []

    def by_address(self, address: Address) -> list[Leaf]:
        """The leaves whose range holds an address."""
        number, width = int(address), address.max_prefixlen
        return [
            leaf
            for length, networks in self._networks.get(address.version, {}).items()
            if (leaf := networks.get(number >> (width - length) << (width - length)))
        ]

    def by_facets(self, address: Address) -> list[Leaf]:
        """The same for the address and for what it wraps: a deny holds for either."""
        return [leaf for facet in facets(address) for leaf in self.by_address(facet)]

    def _leaf(self, resource: Resource) -> Leaf:
        match resource.form:
            case Form.ANY:
                return self.any
            case Form.NAME:
                return self._names.setdefault(resource.host, Leaf())
            case Form.CHILD:
                return self._children.setdefault(resource.host, Leaf())
            case Form.TREE:
                return self._trees.setdefault(resource.host, Leaf())
            case Form.GLOB:
                return self._globs.leaf(resource.host)
            case Form.NETWORK:
                assert resource.network is not None
                by_length = self._networks.setdefault(resource.network.version, {})
                networks = by_length.setdefault(resource.network.prefixlen, {})
                return networks.setdefault(int(resource.network.network_address), Leaf())


def compile_index(rules: list[Rule]) -> Index:
    """Index rules; the order in which they stand says which of several is named in a decision."""
    index = Index()
    order = 0
    for rule in rules:
        for resource in rule.resources:
            index.add(Entry(order=order, rule=rule, resource=resource))
            order += 1
    return index
