# SPDX-License-Identifier: Apache-2.0
"""Where a credential may be put in: scheme, host, port, header, method and path, all of them.

A host pattern is a name, `*.x` (one label below x) or `**.x` (x and any depth below). Names come
in canonical form, lower case and without a final dot; an address is never a place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from sbx.errors import UserError
from sbx.system.text import printable

HTTPS_PORT = 443
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"(?:\*\*?\.)?(?:{_LABEL}\.)+{_LABEL}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
# A path that two programs could read as two, where a binding says which path it is for.
_UNCLEAR = re.compile(r"%|//|\\|;|/\.{1,2}(?:/|\Z)|[\x00-\x20\x7f-\uffff]")


class Style(StrEnum):
    """How a value stands in its header."""

    FORMAT = "format"  # `%s` in a text
    BASIC = "basic"  # RFC 7617, with a fixed user name
    REPLACE = "replace"  # wherever a header holds the placeholder


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place of a credential."""

    hosts: tuple[str, ...]
    port: int = HTTPS_PORT
    style: Style = Style.FORMAT
    header: str = "authorization"  # lower case; of no account for REPLACE
    format: str = "Bearer %s"
    username: str = ""  # for BASIC
    methods: frozenset[str] = field(default_factory=frozenset[str])  # empty: any
    path: str = ""  # empty: any; `/a/**` is /a and all below, else exactly this one

    def covers_host(self, host: str, port: int) -> bool:
        """Whether some request there could get it."""
        return port == self.port and any(matches_host(pattern, host) for pattern in self.hosts)

    def covers(self, host: str, port: int, method: str, target: str) -> bool:
        """Whether this request, over TLS, gets it."""
        if not self.covers_host(host, port) or method == "CONNECT":
            return False
        if self.methods and method not in self.methods:
            return False
        return not self.path or _matches_path(self.path, target.partition("?")[0])


def matches_host(pattern: str, host: str) -> bool:
    """Whether a canonical name fits a pattern."""
    if pattern.startswith("**."):
        return host == pattern[3:] or host.endswith(pattern[2:])
    if pattern.startswith("*."):
        first, _, rest = host.partition(".")
        return bool(first) and rest == pattern[2:]
    return host == pattern


def parse_host_pattern(text: str) -> str:
    """A pattern as a person writes it, in canonical form.

    Raises:
        UserError: it is none, is an address, or would cover a whole top-level domain.
    """
    name = text.strip().lower().removesuffix(".").removesuffix(f":{HTTPS_PORT}")
    shown = printable(text[:80])
    if not _HOST.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise UserError(
            f'not a host that a credential can be bound to: "{shown}"',
            hint="Use a name such as api.example.com, *.example.com or **.example.com",
        )
    if name.startswith("*") and name.lstrip("*.").count(".") < 1:
        raise UserError(f'too wide for a credential: "{shown}"', hint="Name a domain below it")
    return name


def parse_header(text: str) -> str:
    """The name of a header, in lower case.

    Raises:
        UserError: no header has this name, or it steers the connection.
    """
    name = text.strip().lower()
    if not _HEADER.fullmatch(name) or name in STEERING:
        raise UserError(f'not a header for a credential: "{printable(text[:80])}"')
    return name


# What frames a message or names its host: no credential stands there, and none is looked for.
STEERING = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
     "expect", "keep-alive", "proxy-connection", "proxy-authorization"}
)  # fmt: skip


def _matches_path(pattern: str, path: str) -> bool:
    if _UNCLEAR.search(path):
        return False
    if pattern.endswith("/**"):
        return path == pattern[:-3] or path.startswith(pattern[:-2])
    return path == pattern
