# SPDX-License-Identifier: Apache-2.0
"""Published ports: what was asked for, and what came of it. Parsing is in `port_spec`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOOPBACK = "127.0.0.1"
LOOPBACK6 = "::1"


class PortProtocol(StrEnum):
    """Transport and family; without a number: both families."""

    TCP = "tcp"
    TCP4 = "tcp4"
    TCP6 = "tcp6"
    UDP = "udp"
    UDP4 = "udp4"
    UDP6 = "udp6"

    @property
    def transport(self) -> str:
        """`tcp` or `udp`."""
        return self.value[:3]

    @property
    def families(self) -> str:
        """The IP versions, as `4`, `6` or `46`."""
        return self.value[3:] or "46"

    def of_family(self, family: str) -> PortProtocol:
        """The same transport, one family."""
        return PortProtocol(f"{self.transport}{family}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A port of the sandbox that the host shall have."""

    host_ip: str | None  # canonical; None: loopback
    host_port: int | None  # None: one that is free, anew at each start
    sandbox_port: int
    protocol: PortProtocol

    def places(self) -> tuple[tuple[str, PortProtocol], ...]:
        """Where the host listens for it: address, and protocol of one family."""
        loopback = {"4": LOOPBACK, "6": LOOPBACK6}
        return tuple(
            (self.host_ip or loopback[family], self.protocol.of_family(family))
            for family in self.protocol.families
        )

    def __str__(self) -> str:
        return spec_text(self.host_ip, self.host_port, self.sandbox_port, self.protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """An address and port of the host that lead to a port of the sandbox."""

    host_ip: str
    host_port: int
    sandbox_port: int
    protocol: PortProtocol  # of one family

    @property
    def host(self) -> str:
        """`127.0.0.1:8080`, `[::1]:8080`."""
        return f"{bracketed(self.host_ip)}:{self.host_port}"

    def __str__(self) -> str:
        return f"{self.host}->{self.sandbox_port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSelector:
    """Which publications shall go. None fits everything, but see `fits`."""

    host_ip: str | None
    host_port: int | None
    sandbox_port: int
    protocol: PortProtocol | None

    def fits(self, publication: Publication, bindings: tuple[PortBinding, ...] = ()) -> bool:
        """Whether it means this publication, which has these bindings while the sandbox runs.

        Without a protocol it means what `publish` makes without one: TCP, of the address's family,
        or of both.
        """
        default = PortProtocol.TCP6 if ":" in (self.host_ip or "") else PortProtocol.TCP4
        protocols = {self.protocol} if self.protocol else {default, PortProtocol.TCP}
        ips = {ip for ip, _ in publication.places()}
        ports = {publication.host_port, *(binding.host_port for binding in bindings)}
        return (
            self.sandbox_port == publication.sandbox_port
            and publication.protocol in protocols
            and (self.host_ip is None or self.host_ip in ips)
            and (self.host_port is None or self.host_port in ports)
        )

    def __str__(self) -> str:
        return spec_text(self.host_ip, self.host_port, self.sandbox_port, self.protocol)


def spec_text(
    host_ip: str | None, host_port: int | None, sandbox_port: int, protocol: PortProtocol | None
) -> str:
    """A specification as it is typed, in its shortest form."""
    ip = "" if host_ip is None else f"{bracketed(host_ip)}:"
    port = f"{host_port or ''}:" if ip or host_port is not None else ""
    suffix = "" if protocol is None else f"/{protocol}"
    return f"{ip}{port}{sandbox_port}{suffix}"


def bracketed(ip: str) -> str:
    """An address as it stands before a port."""
    return f"[{ip}]" if ":" in ip else ip
