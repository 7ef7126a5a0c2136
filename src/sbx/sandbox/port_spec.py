# SPDX-License-Identifier: Apache-2.0
"""`[[HOST_IP:]HOST_PORT:]SANDBOX_PORT[/PROTOCOL]`, read once and made canonical."""

from __future__ import annotations

import ipaddress
import re

from sbx.errors import UserError
from sbx.sandbox.ports import PortProtocol, PortSelector, Publication

_SPEC = re.compile(
    r"(?:(?:(?P<ip>\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}):)?(?P<host>[0-9]{0,5}):)?"
    r"(?P<sandbox>[0-9]{1,5})(?:/(?P<protocol>[a-z0-9]{1,8}))?",
    re.ASCII,
)
_HINT = "Use [[HOST_IP:]HOST_PORT:]SANDBOX_PORT[/PROTOCOL], such as 8080:3000 or [::1]:8080:80/tcp"


def parse_publication(text: str) -> Publication:
    """What shall be published.

    Raises:
        UserError: it is not of that form.
    """
    wanted = parse_selector(text)
    protocol = wanted.protocol
    if wanted.host_ip is not None:
        family = "6" if ":" in wanted.host_ip else "4"
        protocol = protocol or PortProtocol.TCP
        if family not in protocol.families:
            raise _bad(text, f"{wanted.host_ip} is no address for {protocol}")
        protocol = protocol.of_family(family)
    return Publication(
        host_ip=wanted.host_ip,
        host_port=wanted.host_port,
        sandbox_port=wanted.sandbox_port,
        protocol=protocol or PortProtocol.TCP4,
    )


def parse_selector(text: str) -> PortSelector:
    """What is meant by the same form when something published shall go (raises the same)."""
    found = _SPEC.fullmatch(text)
    if found is None:
        raise _bad(text, "not a port specification")
    return PortSelector(
        host_ip=_address(found["ip"], text),
        host_port=_port(found["host"], text) if found["host"] else None,
        sandbox_port=_port(found["sandbox"], text),
        protocol=_protocol(found["protocol"], text),
    )


def _address(found: str | None, text: str) -> str | None:
    if found is None:
        return None
    try:
        return str(ipaddress.ip_address(found.strip("[]")))
    except ValueError as error:
        raise _bad(text, f"{found} is no IP address") from error


def _port(found: str, text: str) -> int:
    if not 0 < int(found) < 65536:
        raise _bad(text, f"{found} is no port")
    return int(found)


def _protocol(found: str | None, text: str) -> PortProtocol | None:
    try:
        return None if found is None else PortProtocol(found)
    except ValueError as error:
        known = ", ".join(PortProtocol)
        raise _bad(text, f"unknown protocol {found}, known are {known}") from error


def _bad(text: str, why: str) -> UserError:
    return UserError(f"invalid port: `{text}`: {why}", hint=_HINT)
