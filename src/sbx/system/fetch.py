# SPDX-License-Identifier: Apache-2.0
"""One HTTP request of our own: TLS is verified, redirects are not followed, the proxy is known."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import urlsplit

from sbx.system.outgoing import proxy_for

_PORTS = {"http": 80, "https": 443}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whoever asks follows them, without what must not go along."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> None:  # fmt: skip
        return None


def open_url(
    request: urllib.request.Request, *, timeout_s: float
) -> http.client.HTTPResponse | urllib.error.HTTPError:
    """Send a request; the answer, whatever its status, for the caller to close.

    Raises:
        OSError, http.client.HTTPException: there is none.
        UserError: the proxy that is set is of a kind that requests of our own do not take.
    """
    parts = urlsplit(request.full_url)
    proxy = proxy_for(parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443))
    by = None if proxy is None else {parts.scheme: proxy} if proxy else {}
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.ProxyHandler(by),
        _NoRedirects(),
    )
    request.add_header("User-Agent", "opensbx")
    try:
        found: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        return error
    return found
