# SPDX-License-Identifier: Apache-2.0
"""Host names, addresses and ports, made canonical once, at the edge (docs/security.md, I4).

A host is a lower-case ASCII name without a final dot, or an address object; nothing else passes.
What two programs could read as two different hosts is refused: `127.1`, `0x7f.1`, `0177.0.0.1`,
names whose last label is a number, zone ids, control characters. Text from the wire must be ASCII
already; text that a person typed may hold other letters, which become A-labels (RFC 3490).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NewType

from sbx.errors import UserError
from sbx.system.text import printable

HostName = NewType("HostName", str)
Address = IPv4Address | IPv6Address
Host = HostName | IPv4Address | IPv6Address

LOCALHOST = HostName("localhost")  # the host's own loopback, as rules and targets name it
# The name for the host inside a sandbox: one canonical name, so that a rule on either holds.
_ALIASES = {"host.docker.internal": LOCALHOST}

MAX_NAME = 253  # RFC 1035, without the final dot
_SHOWN = 80
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as the URL standard's "ends in a number"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# IDNA 2003 and 2008 make different names of these (RFC 5894, 7.2): the user has to say which.
_DEVIATIONS = "ßς\u200c\u200d"


class BadHostError(UserError):
    """Text that names no host, or could name two."""


class Protocol(StrEnum):
    """What carries a connection."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a connection goes, in canonical form."""

    host: Host
    port: int
    protocol: Protocol = Protocol.TCP

    def __str__(self) -> str:
        return f"{show_host(self.host)}:{self.port}"


def parse_host(text: str) -> Host:
    """A host as a target names it: a name, a dotted IPv4 address, or `[v6]`.

    Raises:
        BadHostError: it is none, or ambiguous.
    """
    if text.startswith("["):
        return _bracketed(text)
    if ":" in text:
        raise bad_host(text, "an IPv6 address stands in brackets", f"Write [{printable(text)}]")
    name = check_ascii(text).lower().removesuffix(".")
    if _ends_in_number(name):
        if name + "." == text:
            raise bad_host(text, "an address has no final dot")
        return _ipv4(name)
    return _ALIASES.get(name) or HostName(check_name(name, text))


def parse_address(text: str) -> Address:
    """A bare address in its own notation, without brackets; mapped IPv4 becomes IPv4.

    Raises:
        BadHostError: it is no address, or has a zone.
    """
    if ":" not in text:
        return _ipv4(text)
    try:
        found = IPv6Address(text)
    except (AddressValueError, ValueError) as error:
        raise bad_host(text, "not an IPv6 address") from error
    if found.scope_id is not None:
        raise bad_host(text, "an address with a zone (`%`) is not accepted")
    return unmapped(found)


def unmapped(address: Address) -> Address:
    """The IPv4 address where one came in IPv6 notation (`::ffff:a.b.c.d`)."""
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def parse_port(text: str) -> int:
    """A port number, plain decimal.

    Raises:
        BadHostError: it is none.
    """
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadHostError(f'invalid port: "{shorten(text)}"', hint="Use a number from 1 to 65535")
    return int(text)


def parse_endpoint(
    text: str, *, default_port: int | None = None, protocol: Protocol = Protocol.TCP
) -> Endpoint:
    """`host`, `host:port`, `[v6]` or `[v6]:port`; without a port it must have a default.

    Raises:
        BadHostError: host or port is wrong, or the port is missing.
    """
    host, port = split_port(text)
    if port is None:
        if default_port is None:
            raise bad_host(text, "there is no port", "Add :443, or the port that is meant")
        return Endpoint(host=parse_host(host), port=default_port, protocol=protocol)
    return Endpoint(host=parse_host(host), port=port, protocol=protocol)


def split_port(text: str) -> tuple[str, int | None]:
    """The text of a host and the port behind it, if there is one.

    Raises:
        BadHostError: what stands behind the host is no port.
    """
    if text.startswith("[") and "]" in text and ":" in text[: text.index("]")]:
        end = text.index("]") + 1
        rest = text[end:]
        if rest and not rest.startswith(":"):
            raise bad_host(text, "only a port may stand behind the bracket")
        return text[:end], parse_port(rest[1:]) if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, parse_port(port)
    return text, None


def to_ascii(text: str) -> str:
    """A host that a person typed, its international labels as A-labels (`xn--…`).

    Raises:
        BadHostError: the letters have no single A-label form.
    """
    if text.isascii():
        return text
    if not text.isprintable():
        raise bad_host(text, "it holds an invisible character")
    hint = "Write the name in its ASCII form, which starts with xn--"
    if any(char in text for char in _DEVIATIONS):
        raise bad_host(text, "standards disagree about one of its letters", hint)
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise bad_host(text, "it has no ASCII form", hint) from error


def show_host(host: Host) -> str:
    """A host as it stands before `:port`."""
    return f"[{host}]" if isinstance(host, IPv6Address) else str(host)


def check_ascii(text: str) -> str:
    """The text, if it is printable ASCII without spaces.

    Raises:
        BadHostError: it is not.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise bad_host(text, "it holds a character that no host name has")
    return text


def check_name(name: str, text: str) -> str:
    """A lower-case name, if DNS could have it; `text` is what was written.

    Raises:
        BadHostError: a label is empty, too long, or has a character of no host name.
    """
    if not name:
        raise bad_host(text, "it is empty")
    if len(name) > MAX_NAME:
        raise bad_host(text, f"it is longer than {MAX_NAME} characters")
    if not _NAME.fullmatch(name):
        raise bad_host(text, "each label is 1 to 63 letters, digits, `-` and `_`")
    return name


def bad_host(text: str, why: str, hint: str | None = None) -> BadHostError:
    """The error for a host, with the text made harmless."""
    return BadHostError(f'invalid host "{shorten(text)}": {why}', hint=hint)


def _bracketed(text: str) -> Address:
    if not text.endswith("]") or ":" not in text:
        raise bad_host(text, "only an IPv6 address stands in brackets")
    return parse_address(text[1:-1])


def _ends_in_number(name: str) -> bool:
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)  # four decimal numbers without leading zeros, nothing else
    except (AddressValueError, ValueError) as error:
        raise bad_host(
            text, "an IPv4 address is four decimal numbers from 0 to 255, without leading zeros"
        ) from error


def shorten(text: str) -> str:
    """Foreign text as a message shows it: bounded, without control characters."""
    shown = printable(text[: _SHOWN + 1])
    return shown if len(text) <= _SHOWN else f"{shown[:_SHOWN]}…"
