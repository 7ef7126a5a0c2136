# SPDX-License-Identifier: Apache-2.0
"""Heads of HTTP/1.1 requests, read strictly (RFC 9112; docs/security.md, I7).

What two parsers could read differently is refused. h11 does the framing; it forgives some things
that RFC 9112 lets a server forgive, and those are refused here first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import h11

from sbx.policy.hosts import BadHostError, Endpoint, Host, parse_endpoint, parse_host, split_port

MAX_HEAD = 64 * 1024
MAX_FIELDS = 128
MAX_TARGET = 8192
HTTP_PORT = 80

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# What a message may ask to be taken out on the way. Anything else that `Connection` names would let
# the sender take a header from the server that we saw.
_NOMINATED = frozenset(
    {b"close", b"keep-alive", b"proxy-connection", b"upgrade", b"te", b"trailer", b"http2-settings"}
)
_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})


class BadRequestError(Exception):
    """A request that is answered with 400, and its connection closed."""


class Form(StrEnum):
    """The form of a request's target."""

    ORIGIN = "origin"
    ABSOLUTE = "absolute"
    AUTHORITY = "authority"  # of CONNECT


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request, without its body."""

    method: str
    form: Form
    target: str  # path and query; empty for CONNECT
    host: Host | None  # as the Host field has it; None only in HTTP/1.0
    port: int | None  # behind it
    authority: Endpoint | None  # of an absolute target, or of CONNECT
    fields: tuple[tuple[bytes, bytes], ...]  # names in lower case
    minor_version: int
    upgrade: str | None = None  # `websocket`, if that is asked for

    @property
    def path(self) -> str:
        """The target without its query, which may hold what no log should."""
        return self.target.partition("?")[0]


def head_end(data: bytes | bytearray) -> int | None:
    """Where the head ends, empty line included; None if it has not ended yet.

    Raises:
        BadRequestError: it is too long.
    """
    end = data.find(b"\r\n\r\n")
    if (len(data) if end < 0 else end) > MAX_HEAD:
        raise BadRequestError("the head of the request is too long")
    if end < 0:
        # Without this, a head whose lines end in a bare LF would only time out.
        if b"\n\n" in data or data.startswith(b"\n"):
            raise BadRequestError("a line ends without CR")
        return None
    return end + 4


def parse_head(data: bytes) -> tuple[RequestHead, h11.Connection]:
    """Read a whole head; the connection that comes with it reads the body.

    Raises:
        BadRequestError: it is malformed, or can be read in two ways.
    """
    head = read_head(data)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD + 16)
    try:
        connection.receive_data(data)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequestError(str(error)) from error
    if not isinstance(event, h11.Request):
        raise BadRequestError("the head of the request is not whole")
    return head, connection


def read_head(data: bytes) -> RequestHead:
    """Read a whole head.

    Raises:
        BadRequestError: it is malformed, or can be read in two ways.
    """
    method, target, minor, fields = _lines(data)
    _check_framing(fields, minor)
    _check_nominated(fields)
    host, port = _host(fields)
    form, authority, path = _target(method, target)
    if authority is not None and host is not None and _differs(authority, host, port, form):
        raise BadRequestError("the target and the Host field name different hosts")
    head = RequestHead(
        method=method,
        form=form,
        target=path,
        host=host,
        port=port,
        authority=authority,
        fields=tuple(fields),
        minor_version=minor,
        upgrade=_upgrade(fields),
    )
    if form is Form.AUTHORITY and _has_body(fields):
        raise BadRequestError("CONNECT has no body")
    return head


def values(fields: tuple[tuple[bytes, bytes], ...], name: bytes) -> list[bytes]:
    """All values of a field, in order."""
    return [value for key, value in fields if key == name]


def tokens(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The comma-separated words of a field, in lower case."""
    joined = b",".join(value for key, value in fields if key == name)
    return [word for part in joined.split(b",") if (word := part.strip(b" \t").lower())]


def _lines(data: bytes) -> tuple[str, str, int, list[tuple[bytes, bytes]]]:
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise BadRequestError("the request line is malformed")
    if len(request[2]) > MAX_TARGET:
        raise BadRequestError("the target of the request is too long")
    if len(lines) > MAX_FIELDS:
        raise BadRequestError("the request has too many fields")
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadRequestError(_what_is_wrong(line))
        fields.append((field[1].lower(), field[2].strip(b" \t")))
    return request[1].decode(), request[2].decode(), int(request[3]), fields


def _what_is_wrong(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a field goes on in the next line"
    if re.match(rb"[^:]*[ \t]:", line):
        return "there is a space before the colon of a field"
    if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line):
        return "a field holds a control character"
    return "a field is malformed"


def _check_framing(fields: list[tuple[bytes, bytes]], minor: int) -> None:
    names = [name for name, _ in fields]
    for name in _ONCE:
        if names.count(name) > 1:
            raise BadRequestError(f"the field {name.decode()} stands there twice")
    for name, value in fields:
        if name == b"content-length" and not _LENGTH.fullmatch(value):
            raise BadRequestError("the content length is malformed")
        if name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise BadRequestError("the transfer encoding is not `chunked` alone")
            if minor == 0 or b"content-length" in names:
                raise BadRequestError("the length of the body is said in two ways")
    if minor == 1 and b"host" not in names:
        raise BadRequestError("there is no Host field")


def _check_nominated(fields: list[tuple[bytes, bytes]]) -> None:
    for word in tokens(fields, b"connection"):
        if word not in _NOMINATED:
            raise BadRequestError("the field Connection names a field that must arrive")


def _has_body(fields: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value))
        for name, value in fields
    )


def _host(fields: list[tuple[bytes, bytes]]) -> tuple[Host | None, int | None]:
    for name, value in fields:
        if name == b"host":
            try:
                text, port = split_port(value.decode("ascii"))
                return parse_host(text), port
            except (UnicodeDecodeError, BadHostError) as error:
                raise BadRequestError("the Host field names no host") from error
    return None, None


def _target(method: str, target: str) -> tuple[Form, Endpoint | None, str]:
    try:
        if method.upper() == "CONNECT":
            if method != "CONNECT" or any(char in target for char in "/?#@"):
                raise BadRequestError("CONNECT takes a host and a port")
            return Form.AUTHORITY, parse_endpoint(target), ""
        if "#" in target:
            raise BadRequestError("the target of the request has a fragment")
        if target.startswith("/"):
            return Form.ORIGIN, None, target
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() != "http":
            raise BadRequestError("the target of the request is neither a path nor an http URL")
        split = re.match(r"[^/?]*", rest)
        authority = split[0] if split else ""
        path = rest[len(authority) :]
        endpoint = parse_endpoint(authority, default_port=HTTP_PORT)
    except BadHostError as error:
        raise BadRequestError(f"the target of the request: {error.message}") from error
    return Form.ABSOLUTE, endpoint, path if path.startswith("/") else "/" + path


def _differs(authority: Endpoint, host: Host, port: int | None, form: Form) -> bool:
    if authority.host != host:
        return True
    # Some clients leave the port of a tunnel out.
    if form is Form.AUTHORITY:
        return port is not None and port != authority.port
    return authority.port != (HTTP_PORT if port is None else port)


def _upgrade(fields: list[tuple[bytes, bytes]]) -> str | None:
    if b"upgrade" not in tokens(fields, b"connection"):
        return None
    return "websocket" if tokens(fields, b"upgrade") == [b"websocket"] else None
