# SPDX-License-Identifier: Apache-2.0
"""Automatic proxy configuration (PAC): where the file is, what it is asked, and how it answers.

The file is a program of the user's network, `FindProxyForURL(url, host)`. It is run elsewhere
(sbx.proxy.pac); here is what is known without running it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sbx.errors import UserError
from sbx.policy.hosts import Endpoint, show_host
from sbx.system.text import printable

_PREFIX = "pac+"
_MAX_WAYS = 10  # of one answer; each may take the whole time of a connection
# The kinds of an answer, and the scheme that `parse_proxy` knows them by.
_SCHEMES = {"PROXY": "http", "HTTP": "http", "HTTPS": "https", "SOCKS": "socks5h",
            "SOCKS5": "socks5h"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PacFile:
    """Where the file is: an URL, or a path of this machine."""

    location: str

    def __str__(self) -> str:
        """Without a query, which may hold a secret."""
        return self.location.partition("?")[0]

    @property
    def path(self) -> str | None:
        """The path on this machine; None for an URL."""
        return self.location if self.location.startswith("/") else None


def parse_pac(text: str) -> PacFile | None:
    """A PAC file: `pac+http://`, `pac+https://`, `pac+file://` or `file://`; None for other texts.

    Raises:
        UserError: it is meant to be one, and is none.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or not (scheme.lower().startswith(_PREFIX) or scheme.lower() == "file"):
        return None
    location = text[len(_PREFIX) :] if scheme.lower().startswith(_PREFIX) else text
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise _bad(text, str(error)) from error
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise _bad(text, "the path of a file begins with `/`")
        return PacFile(location=parts.path)
    if parts.scheme not in ("http", "https"):
        raise _bad(text, "its scheme is not known")
    if not parts.hostname or "@" in parts.netloc:
        raise _bad(text, "it needs a host, and takes no user")
    return PacFile(location=location)


def question(to: Endpoint) -> tuple[str, str]:
    """The URL and the host that the file is asked about; no path of a request is told."""
    host = show_host(to.host)
    scheme, usual = ("http", 80) if to.port == 80 else ("https", 443)
    place = host if to.port == usual else f"{host}:{to.port}"
    return f"{scheme}://{place}/", host


def answers(text: str | None) -> tuple[str | None, ...]:
    """The ways of an answer, in its order: a proxy as an URL, None for a connection without one.

    An empty answer means no proxy. SOCKS is taken as version 5, and the proxy resolves names.

    Raises:
        ValueError: no way of it can be gone.
    """
    words = [word for each in (text or "").split(";") if (word := each.strip())]
    if not words or words in (["null"], ["undefined"]):
        return (None,)
    found: list[str | None] = []
    for word in words:
        kind, _, place = word.partition(" ")
        if kind.upper() == "DIRECT" and not place.strip():
            found.append(None)
        elif kind.upper() in _SCHEMES and place.strip():
            found.append(f"{_SCHEMES[kind.upper()]}://{place.strip()}")
    if not found:
        raise ValueError(f"no way is known in its answer: {printable(text or '')[:200]}")
    return tuple(found[:_MAX_WAYS])


def _bad(text: str, why: str) -> UserError:
    return UserError(
        f'this is no PAC file: "{printable(text)}": {why}',
        hint="Use pac+http://, pac+https:// or file:///PATH",
    )
