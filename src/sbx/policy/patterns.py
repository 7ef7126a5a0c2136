# SPDX-License-Identifier: Apache-2.0
"""What a rule is about: a pattern of hosts, and a port or all of them.

`host` (any port, no subdomains), `host:port`, `*.x` (one label below x), `**.x` (x and any depth
below), `?`, `[12]`, `[!1]` and `*` inside a label, an address, a CIDR range, `[v6]:port`, and `**`
for everything. The grammar is described in docs/policy.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Network, ip_network

from sbx.policy import hosts
from sbx.policy.addresses import Network
from sbx.policy.hosts import BadHostError, HostName, parse_address, parse_host, split_port, to_ascii

_CLASS = r"\[!?[A-Za-z0-9_-]+\]"
_GLOB_LABEL = re.compile(rf"(?:[a-z0-9_*?-]|{_CLASS})+")
_PARTS = re.compile(rf"{_CLASS}|.", re.DOTALL)
_NUMBERS = re.compile(r"(?:[0-9*?-]|\[!?[0-9-]+\])+")
_DIGIT = re.compile(r"[0-9]")
_MAGIC = re.compile(r"[*?\[\]]")
_LITERAL_ENDS = re.compile(r"^([^*?\[]*).*?([^*?\]]*)$")


class Form(StrEnum):
    """The forms that a pattern of hosts has."""

    ANY = "any"  # **
    NAME = "name"  # x
    CHILD = "child"  # *.x
    TREE = "tree"  # **.x
    GLOB = "glob"  # anything else with wildcards
    NETWORK = "network"  # an address or a range


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One pattern of a rule, in canonical form."""

    form: Form
    host: str  # canonical text: the name, the x of `*.x` and `**.x`, the glob, the network
    network: Network | None = None  # for NETWORK
    port: int | None = None  # None: any

    def __str__(self) -> str:
        return self.pattern if self.port is None else f"{self.pattern}:{self.port}"

    @property
    def pattern(self) -> str:
        """The pattern without the port."""
        match self.form:
            case Form.ANY:
                return "**"
            case Form.CHILD:
                return f"*.{self.host}"
            case Form.TREE:
                return f"**.{self.host}"
            case Form.NETWORK:
                return self._network_text()
            case _:
                return self.host

    def _network_text(self) -> str:
        assert self.network is not None
        bare = self.network.prefixlen == self.network.max_prefixlen
        if isinstance(self.network, IPv6Network) and (bare or self.port is not None):
            return f"[{self.host}]"
        return self.host


def parse_resource(text: str) -> Resource:
    """One pattern.

    Raises:
        BadHostError: it is none; the hint says what to write.
    """
    written = text.strip()
    _refuse_lookalikes(written)
    ascii_text = hosts.check_ascii(to_ascii(written))
    if found := _network(ascii_text):
        return found
    pattern, port = split_port(ascii_text)
    if pattern.startswith("[") and ":" in pattern:
        return _range(pattern[1:-1], port)
    if pattern == "**":
        return Resource(form=Form.ANY, host=pattern, port=port)
    return _name_pattern(pattern.lower().removesuffix("."), port, written)


def parse_resources(text: str) -> tuple[Resource, ...]:
    """A comma list of patterns, each once.

    Raises:
        BadHostError: one is malformed, or there is none.
    """
    found = [parse_resource(part) for part in text.split(",") if part.strip()]
    if not found:
        raise BadHostError("no host is named", hint="Name one, such as example.com:443")
    return tuple(dict.fromkeys(found))


def parse_kit_entry(text: str) -> tuple[Resource, str | None]:
    """A host entry of a kit: a bare host means port 443, and a path behind it is an HTTP path.

    Raises:
        BadHostError: it is malformed.
    """
    host, _, path = text.strip().partition("/")
    if _is_address(host):  # a CIDR range
        return parse_resource(text), None
    found = parse_resource(host)
    if found.port is None and found.form is not Form.NETWORK:
        found = replace(found, port=443)
    if not path:
        return found, None
    return found, f"/{path.rstrip('/')}/**" if path.endswith("/") else f"/{path}"


@lru_cache(maxsize=8192)  # compiled when a name comes that could match: most never are
def glob_regex(glob: str) -> re.Pattern[str]:
    """What a glob of host names matches; no wildcard crosses a dot."""
    return re.compile(r"\.".join(label_regex(label) for label in glob.split(".")))


def label_regex(label: str, *, stop: str = ".") -> str:
    """One label or path segment as a regular expression without catastrophic backtracking.

    The text between two stars is matched at its first place and never given back (`(?>…)`): a later
    place cannot help, since only stars follow.
    """
    pieces: list[str] = [""]
    for part in _PARTS.findall(label):
        match part:
            case "*":
                pieces.append("")
            case "?":
                pieces[-1] += f"[^{stop}]"
            case _ if part.startswith("[!"):
                pieces[-1] += f"(?!\\{stop})[^{part[2:-1]}]"
            case _ if len(part) > 1:
                pieces[-1] += part
            case _:
                pieces[-1] += re.escape(part)
    first, *rest = pieces
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^{stop}]*?{m})" for m in middle if m) + f"[^{stop}]*{last}"


def runs_backwards(label: str) -> bool:
    """Whether a class such as `[z-a]` has its ends in the wrong order."""
    if "[" not in label:
        return False
    try:
        re.compile(label_regex(label))
    except re.error:
        return True
    return False


def literal_ends(glob: str) -> tuple[str, str]:
    """The text before the first wildcard of a glob and after the last."""
    found = _LITERAL_ENDS.match(glob)
    assert found is not None
    return found[1], found[2]


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except BadHostError:
        return False
    return True


def _refuse_lookalikes(text: str) -> None:
    if "://" in text:
        raise BadHostError(
            f'a rule is about hosts, not URLs: "{hosts.shorten(text)}"',
            hint="Write HOST:PORT, and --path for a part of a site",
        )
    if text == "*" or text.startswith("*:"):
        raise BadHostError(
            f'a bare `*` is not accepted: "{hosts.shorten(text)}"',
            hint="Write ** for every host, or *.example.com for the names below one",
        )
    if text.count(":") > 1 and not text.startswith("[") and "/" not in text:
        raise BadHostError(
            f'an IPv6 address stands in brackets: "{hosts.shorten(text)}"',
            hint=f"Write [{hosts.shorten(text)}], or [{hosts.shorten(text)}]:443",
        )


def _network(text: str) -> Resource | None:
    """`a.b.c.d/n` and `v6/n`, with a port only behind the first."""
    if "/" not in text or text.startswith("["):
        return None
    base, _, rest = text.partition("/")
    length, colon, port = rest.partition(":")
    if not length.isdigit():
        raise BadHostError(
            f'a rule is about hosts: "{hosts.shorten(text)}" has a path',
            hint=f"Write {hosts.shorten(base)} and --path /{hosts.shorten(rest)}",
        )
    return _range(f"{base}/{length}", hosts.parse_port(port) if colon else None)


def _range(text: str, port: int | None) -> Resource:
    base, slash, length = text.partition("/")
    address = parse_address(base)
    full: int = address.max_prefixlen
    bits = full
    if slash:
        if ":" in base and address.version == 4:
            raise hosts.bad_host(text, "write the range as IPv4")
        if not length.isdigit() or str(int(length)) != length or int(length) > full:
            raise hosts.bad_host(text, f"the length behind `/` is a number from 0 to {full}")
        bits = int(length)
    network = ip_network(f"{address}/{bits}", strict=False)
    if network.network_address != address:
        raise hosts.bad_host(text, "it has bits behind its length", f"Write {network}")
    host = str(network) if bits < full else str(address)
    return Resource(form=Form.NETWORK, host=host, network=network, port=port)


def _name_pattern(pattern: str, port: int | None, written: str) -> Resource:
    if not _MAGIC.search(pattern):
        host = parse_host(pattern)
        if not isinstance(host, str):
            return _range(pattern, port)
        return Resource(form=Form.NAME, host=host, port=port)
    head, _, tail = pattern.partition(".")
    if head in ("*", "**") and not _MAGIC.search(tail):
        form = Form.CHILD if head == "*" else Form.TREE
        return Resource(form=form, host=_suffix(tail, written), port=port)
    return Resource(form=Form.GLOB, host=_glob(pattern, written), port=port)


def _suffix(tail: str, written: str) -> HostName:
    host = parse_host(tail)
    if not isinstance(host, str):
        raise hosts.bad_host(written, "an address has no names below it")
    if host != tail:  # an alias: nothing lies below it
        raise hosts.bad_host(written, f"there are no names below `{tail}`")
    return host


def _glob(pattern: str, written: str) -> str:
    if "**" in pattern:
        raise hosts.bad_host(
            written, "`**` stands alone or at the start", "Write **, or **.example.com"
        )
    if len(pattern) > hosts.MAX_NAME:
        raise hosts.bad_host(written, f"it is longer than {hosts.MAX_NAME} characters")
    labels = pattern.split(".")
    if _NUMBERS.fullmatch(labels[-1]) and labels[-1] not in ("*", "?"):
        raise hosts.bad_host(written, "no name ends in a number", "Write a range: 10.0.0.0/24")
    if all(_NUMBERS.fullmatch(label) for label in labels) and _DIGIT.search(pattern):
        raise hosts.bad_host(written, "addresses have no wildcards", "Write a range: 10.0.0.0/24")
    for label in labels:
        if not _GLOB_LABEL.fullmatch(label):
            raise hosts.bad_host(written, "a label has letters, digits, `-`, `_`, `*`, `?`, `[ab]`")
        if runs_backwards(label):
            raise hosts.bad_host(written, "a range in `[…]` runs backwards")
    return pattern
