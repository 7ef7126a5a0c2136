# SPDX-License-Identifier: Apache-2.0
"""The ClientHello (RFC 8446, 4.1.2): the server name and protocols that a client asks for.

Read strictly, over records and fragments, without an opinion on ciphers. Refused are two names, a
name that is an address, and encrypted hellos (ECH), which hide the name that counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbx.policy.hosts import BadHostError, HostName, parse_host

MAX_HELLO = 32 * 1024  # bytes of the message; post-quantum keys make about 2 KiB
_MAX_RECORDS = 64  # nobody splits a hello into more, except to make us work
_MAX_RECORD = 1 << 14
MAX_BYTES = MAX_HELLO + 4 + 5 * _MAX_RECORDS  # of a connection that may be needed to read a hello

HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ALPN = 16
_ECH = 0xFE0D

ACCESS_DENIED_ALERT = bytes([21, 3, 3, 0, 2, 2, 49])  # fatal, access_denied


class BadHelloError(Exception):
    """Bytes that are no ClientHello, or one that is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a client asks for."""

    server_name: HostName | None
    protocols: tuple[str, ...] = ()  # ALPN


def parse_hello(data: bytes) -> Hello | None:
    """Read a hello from the first bytes of a connection; None if more of them are needed.

    Raises:
        BadHelloError: it will not become one, or is refused.
    """
    message = _message(data)
    return None if message is None else _hello(_Reader(message))


class _Reader:
    """Takes bytes and vectors off the front; too few are an error."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise BadHelloError("a field of the TLS hello is cut off")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """A field with its length in front, `size` bytes of it."""
        return self.take(self.number(size))

    def done(self) -> None:
        if self.left:
            raise BadHelloError("there are bytes behind a field of the TLS hello")


def _message(data: bytes) -> bytes | None:
    """The body of the handshake message that the records carry, once it is whole."""
    found = bytearray()
    at = 0
    for _ in range(_MAX_RECORDS):
        head = data[at : at + 5]
        if head and head[0] != HANDSHAKE:
            raise BadHelloError("not a TLS handshake")
        if len(head) > 1 and head[1] != 3:
            raise BadHelloError("not a version of TLS")
        if len(head) < 5:
            return None
        size = int.from_bytes(head[3:5])
        if not 0 < size <= _MAX_RECORD:
            raise BadHelloError("a TLS record has an impossible length")
        found += data[at + 5 : at + 5 + size]
        at += 5 + size
        if found and found[0] != _CLIENT_HELLO:
            raise BadHelloError("the TLS handshake does not start with a hello")
        if len(found) >= 4:
            length = int.from_bytes(found[1:4])
            if length > MAX_HELLO:
                raise BadHelloError("the TLS hello is too long")
            if len(found) > 4 + length:
                raise BadHelloError("there are bytes behind the TLS hello")
            if len(found) == 4 + length:
                return bytes(found[4:])
        if at > len(data):
            return None
    raise BadHelloError("the TLS hello comes in too many records")


def _hello(body: _Reader) -> Hello:
    if body.number(2) >> 8 != 3:
        raise BadHelloError("not a version of TLS")
    body.take(32)  # random
    if len(body.vector(1)) > 32:
        raise BadHelloError("the session id of the TLS hello is too long")
    ciphers = body.vector(2)
    if not ciphers or len(ciphers) % 2:
        raise BadHelloError("the ciphers of the TLS hello are malformed")
    if not body.vector(1):
        raise BadHelloError("the compressions of the TLS hello are malformed")
    if not body.left:
        return Hello(server_name=None)
    extensions = _extensions(_Reader(body.vector(2)))
    body.done()
    if _ECH in extensions:
        raise BadHelloError("the TLS hello is encrypted (ECH), which hides the server name")
    name = extensions.get(_SERVER_NAME)
    protocols = extensions.get(_ALPN)
    return Hello(
        server_name=None if name is None else _server_name(_Reader(name)),
        protocols=() if protocols is None else _protocols(_Reader(protocols)),
    )


def _extensions(reader: _Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while reader.left:
        kind = reader.number(2)
        if kind in found:
            raise BadHelloError("an extension of the TLS hello stands there twice")
        found[kind] = reader.vector(2)
    return found


def _server_name(extension: _Reader) -> HostName:
    names = _Reader(extension.vector(2))
    extension.done()
    if names.number(1) != 0:
        raise BadHelloError("the server name of the TLS hello is of an unknown kind")
    text = names.vector(2)
    if names.left:
        raise BadHelloError("the TLS hello has more than one server name")
    try:
        # RFC 6066 wants no final dot: servers differ in what they make of one.
        host = None if text.endswith(b".") else parse_host(text.decode("ascii"))
    except (UnicodeDecodeError, BadHostError) as error:
        raise BadHelloError("the server name of the TLS hello is no host name") from error
    if not isinstance(host, str):
        raise BadHelloError("the server name of the TLS hello is no host name")
    return host


def _protocols(extension: _Reader) -> tuple[str, ...]:
    names = _Reader(extension.vector(2))
    extension.done()
    found: list[str] = []
    while names.left:
        name = names.vector(1)
        if not name:
            raise BadHelloError("an ALPN protocol of the TLS hello is empty")
        found.append(name.decode("latin-1"))
    return tuple(found)
