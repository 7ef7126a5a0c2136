# SPDX-License-Identifier: Apache-2.0
"""What is sent on: a request to the server, its answer to the guest, and answers of our own.

Fields that are about one connection end here (RFC 9110, 7.6.1). Each request has a connection of
its own to the server, so that nothing of one is ever taken for part of another.
"""

from __future__ import annotations

import h11

from sbx.policy.hosts import Endpoint, show_host
from sbx.proxy.http.head import HTTP_PORT, RequestHead, tokens

Fields = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)


def upstream_request(head: RequestHead, to: Endpoint) -> h11.Request:
    """The request as the server gets it: origin form, the host's canonical name, one connection."""
    host = show_host(to.host) if to.port == HTTP_PORT else str(to)
    fields: Fields = [(b"Host", host.encode())]
    fields += [f for f in head.fields if f[0] not in HOP_BY_HOP and f[0] != b"host"]
    if head.upgrade:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", head.upgrade.encode())]
    else:
        fields.append((b"Connection", b"close"))
    return h11.Request(method=head.method, target=head.target, headers=fields)


def response_fields(
    response: h11.Response | h11.InformationalResponse, head: RequestHead
) -> Fields:
    """The fields of an answer as the guest gets them."""
    found = [(bytes(name).lower(), bytes(value)) for name, value in response.headers]
    nominated = set(tokens(found, b"connection")) - {b"content-length", b"transfer-encoding"}
    fields = [f for f in found if f[0] not in HOP_BY_HOP and f[0] not in nominated]
    if response.status_code == 101 and head.upgrade:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", head.upgrade.encode())]
    if head.minor_version == 0:  # it knows no chunks, and the end of the connection ends the body
        fields = [f for f in fields if f[0] != b"transfer-encoding"]
    return fields


_REASONS = {
    200: "Connection established",
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    502: "Bad Gateway",
    504: "Gateway Timeout",
}


_MAX_REASON = 500


def reason_phrase(text: str) -> str:
    """A text as the reason of an answer to CONNECT: Go programs, Docker too, show nothing else."""
    lines = "; ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    plain = "".join(c for c in lines.replace(":; ", ": ") if " " <= c <= "~")
    return plain if len(plain) <= _MAX_REASON else f"{plain[:_MAX_REASON]}..."


def own_answer(status: int, text: str = "", *, reason: str | None = None) -> bytes:
    """An answer of ours; the connection ends after it, except after the 200 to a CONNECT."""
    first = f"HTTP/1.1 {status} {reason or _REASONS[status]}\r\n"
    if status == 200:
        return (first + "\r\n").encode()
    body = text.encode()
    return (
        f"{first}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode() + body
