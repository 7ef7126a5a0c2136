# SPDX-License-Identifier: Apache-2.0
"""Where things are in the test internet, and the forms in which it reports: shared by both ends."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

# Public to every rule: globally reachable by the IANA registry, and in truth a sink for reverse
# look-ups of private addresses (AS112, RFC 7535), so nobody is met there if a packet should escape.
NETWORK = "192.31.196.0/24"
RESOLVER = "192.31.196.53"  # what resolv.conf names
PUBLIC_RESOLVER = "192.31.196.54"  # another one, which a guest may try to ask itself
WEB = "192.31.196.80"
OTHER_WEB = "192.31.196.81"
NOWHERE = "192.31.196.200"  # packets to it vanish
WEB6 = "2620:4f:8000::80"
# Addresses that a policy must protect. The same servers answer there, and note who came.
PRIVATE = "10.31.196.1"
SHARED = "100.64.196.1"
METADATA = "169.254.169.254"
LOOPBACK = "127.0.0.1"

HTTP_PORTS = (80, 3000, 8080)
HTTPS_PORTS = (443, 8443)
ECHO_PORT = 7
GREETING_PORT = 2525  # speaks first
UDP_PORTS = (53, 123, 443, 5353)  # noted and not answered, but for DNS at the two resolvers

# Names that are there from the start. A name below `test` that is not here leads to WEB.
NAMES: Mapping[str, Sequence[str]] = {
    "other.test": [OTHER_WEB],
    "six.test": [WEB6],
    "both.test": [WEB6, WEB],
    "private.test": [PRIVATE],
    "shared.test": [SHARED],
    "metadata.test": [METADATA],
    "loopback.test": [LOOPBACK],
    "loopback6.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nowhere.test": [NOWHERE],
    "void.test": [],  # does not exist
}
SEARCH_DOMAIN = "search.test"  # of the host's resolver: no name of a guest may end there
MAX_BODY_BYTES = 64 * 1024  # kept of what a server was sent


class Kind(StrEnum):
    """What was seen."""

    DNS = "dns"
    HTTP = "http"
    WEBSOCKET = "websocket"
    TCP = "tcp"
    UDP = "udp"


@dataclass(slots=True, kw_only=True)
class Seen:
    """Something that arrived at a server of the test internet."""

    kind: Kind
    at: str  # the server's own `address:port`
    what: str  # `GET https://host/path`, `A name`, or the sender of bytes
    version: str = ""  # of HTTP
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""  # its first MAX_BODY_BYTES
    body_bytes: int = 0  # how long it was

    def header(self, name: str) -> list[str]:
        """All values of a header, as they came."""
        return [value for key, value in self.headers if key == name.lower()]

    def to_json(self) -> dict[str, object]:
        return {
            "kind": self.kind.value,
            "at": self.at,
            "what": self.what,
            "version": self.version,
            "headers": self.headers,
            "body": base64.b64encode(self.body).decode(),
            "body_bytes": self.body_bytes,
        }

    @classmethod
    def from_json(cls, data: dict[str, object]) -> Seen:
        headers = cast("list[list[str]]", data["headers"])
        return cls(
            kind=Kind(cast("str", data["kind"])),
            at=cast("str", data["at"]),
            what=cast("str", data["what"]),
            version=cast("str", data["version"]),
            headers=[(name, value) for name, value in headers],
            body=base64.b64decode(cast("str", data["body"])),
            body_bytes=cast("int", data["body_bytes"]),
        )


class Do(StrEnum):
    """A step of a server that follows a script, once for each connection."""

    READ = "read"  # until something comes
    READ_HEAD = "read-head"  # until an empty line
    SEND = "send"
    SPLIT = "split"  # the same, each byte in a packet of its own
    ENDLESS = "endless"  # for ever
    WAIT = "wait"  # for `release(key)`
    RESET = "reset"
    HOLD = "hold"  # until the other side ends


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, and with what: the bytes to send, or the key to wait for."""

    do: Do
    data: bytes = b""

    def to_json(self) -> list[str]:
        return [self.do.value, base64.b64encode(self.data).decode()]

    @classmethod
    def from_json(cls, data: list[str]) -> Step:
        return cls(Do(data[0]), base64.b64decode(data[1]))
