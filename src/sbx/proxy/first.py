# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of a connection are: TLS, HTTP, or something that is not read.

A server may be more lenient than we are. So whatever a server could take for HTTP counts as HTTP
here, and then has to stand the strict reading of `sbx.proxy.http.head`.
"""

from __future__ import annotations

import re
from enum import StrEnum

from sbx.proxy.tls.hello import HANDSHAKE

MAX_LINE = 8192  # bytes, as the longest request line

# A line of text may hold tabs and what ends it; any other control byte, or one that is not ASCII,
# makes it a binary protocol.
_BINARY = re.compile(rb"[^\t\r\n -~]")
_REQUEST_LINE = re.compile(
    rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|PRI)[ \t]|.*HTTP/", re.IGNORECASE
)


class FirstBytes(StrEnum):
    """What a connection starts with."""

    TLS = "tls"
    HTTP = "http"
    OPAQUE = "opaque"


def classify(data: bytes) -> FirstBytes | None:
    """What these first bytes start; None if more of them are needed."""
    if data.startswith(bytes([HANDSHAKE])):
        return FirstBytes.TLS
    text = data.lstrip(b" \t\r\n")  # some servers skip these
    line, end, _ = text.partition(b"\n")
    if _REQUEST_LINE.match(line):
        return FirstBytes.HTTP
    if _BINARY.search(line):
        return FirstBytes.OPAQUE
    if end:
        return FirstBytes.OPAQUE
    return FirstBytes.HTTP if len(data) > MAX_LINE else None
