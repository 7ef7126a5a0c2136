# SPDX-License-Identifier: Apache-2.0
"""By which way a connection leaves the host: straight, or through a proxy of the user's network.

Which proxy and which exceptions is read from settings and from the variables that other programs
read too (docs/proxy.md, "Upstream proxies"). A route is chosen for what the policy has allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import unquote, urlsplit

from sbx.errors import UserError
from sbx.policy.hosts import (
    LOCALHOST,
    BadHostError,
    Endpoint,
    Host,
    parse_host,
    show_host,
    split_port,
)
from sbx.policy.pac import PacFile, parse_pac
from sbx.system.text import printable

SYSTEM, DIRECT = "system", "direct"
_FORMS = (
    "http://, https://, socks5:// or socks5h:// and HOST:PORT, pac+https://, `system`, or `direct`"
)
_MAX_SECRET_BYTES = 255  # RFC 1929


class Scheme(StrEnum):
    """What a proxy speaks."""

    HTTP = "http"  # CONNECT
    HTTPS = "https"  # CONNECT, inside TLS
    SOCKS5 = "socks5"  # names are resolved here, so the addresses are checked
    SOCKS5H = "socks5h"  # the proxy resolves names


_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443, Scheme.SOCKS5: 1080, Scheme.SOCKS5H: 1080}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyServer:
    """A proxy, and who we are to it."""

    scheme: Scheme
    host: Host
    port: int
    username: str | None = None
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Without user and password."""
        return f"{self.scheme}://{show_host(self.host)}:{self.port}"


def parse_proxy(text: str, *, may_have_password: bool = True) -> ProxyServer:
    """A proxy as an URL; without a scheme it is an HTTP proxy.

    Raises:
        UserError: it is none, or of a kind that is not supported.
    """
    scheme, separator, _ = text.partition("://")
    if not separator:
        return parse_proxy(f"http://{text}", may_have_password=may_have_password)
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise _bad(text, "its scheme is not known")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise _bad(text, str(error)) from error
    user, _, place = parts.netloc.rpartition("@")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad(text, "nothing may stand behind the port")
    if user and not may_have_password:
        raise UserError(
            "a setting holds no user or password, because it is kept in a file as it is",
            hint="Give such a proxy in the variable DOCKER_SANDBOXES_PROXY or HTTPS_PROXY",
        )
    try:
        host, port = split_port(place)
        server = parse_host(host)
    except BadHostError as error:
        raise _bad(text, error.message) from error
    kind = Scheme(scheme)
    name, _, password = user.partition(":")
    if max(len(unquote(part).encode()) for part in (name, password)) > _MAX_SECRET_BYTES:
        raise _bad(text, "its user or password is too long")
    return ProxyServer(
        scheme=kind,
        host=server,
        port=port or _PORTS[kind],
        username=unquote(name) if user else None,
        password=unquote(password),
    )


Way = ProxyServer | PacFile


def parse_way(text: str, *, may_have_password: bool = True) -> Way:
    """A proxy as an URL, or a PAC file that names proxies.

    Raises:
        UserError: it is neither.
    """
    return parse_pac(text) or parse_proxy(text, may_have_password=may_have_password)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exception:
    """One entry of a list of exceptions."""

    suffix: str = ""  # `.example.com`: itself and what is below; empty: everything
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def covers(self, to: Endpoint) -> bool:
        if self.port is not None and self.port != to.port:
            return False
        if isinstance(to.host, str):
            return self.network is None and f".{to.host}".endswith(self.suffix)
        if self.network is None:
            return not self.suffix
        return to.host in self.network


@dataclass(frozen=True, slots=True)
class NoProxy:
    """The endpoints that are connected to without the proxy."""

    entries: tuple[_Exception, ...] = ()

    def covers(self, to: Endpoint) -> bool:
        return any(entry.covers(to) for entry in self.entries)


def parse_no_proxy(text: str) -> NoProxy:
    """A list with commas or spaces: `*`, a name (with all below it), an address, a range; a port.

    `.x`, `*.x` and `x` mean the same, as curl reads them.

    Raises:
        UserError: an entry cannot be read.
    """
    return NoProxy(tuple(_exception(word) for word in re.split(r"[,\s]+", text) if word))


def _exception(word: str) -> _Exception:
    if word == "*":
        return _Exception()
    bare = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    try:
        return _Exception(network=ip_network(bare, strict=False))
    except ValueError:
        pass
    try:
        host, port = split_port(word)
        found = parse_host(host.removeprefix("*").removeprefix("."))
    except BadHostError as error:
        raise UserError(
            f'cannot read this exception from the proxy: "{printable(word)}"', hint=error.hint
        ) from error
    if isinstance(found, str):
        return _Exception(suffix=f".{found}", port=port)
    return _Exception(network=ip_network(found), port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Which proxy, if any, a connection takes."""

    plain: Way | None = None  # to port 80
    other: Way | None = None
    no_proxy: NoProxy = NoProxy()

    def choose(self, to: Endpoint) -> Way | None:
        """The proxy for an endpoint; None for a connection straight from this host.

        A PAC file is to be asked, and may say either.
        """
        proxy = self.plain if to.port == 80 else self.other
        if proxy is None or to.host == LOCALHOST or self.no_proxy.covers(to):
            return None
        # A proxy elsewhere would reach its own loopback, not this host's.
        if not isinstance(to.host, str) and to.host.is_loopback:
            return None
        return proxy


STRAIGHT = Routes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What the user has set: for sandboxes, for everything; empty texts are not set."""

    sandbox: str = ""
    everything: str = ""
    no_proxy_sandbox: str = ""
    no_proxy: str = ""


def find_routes(configured: Configured, environment: Mapping[str, str]) -> Routes:
    """The routes in force: a setting for sandboxes, else one for everything, else the variables.

    Raises:
        UserError: a value cannot be read; the message says which.
    """
    listed = configured.no_proxy_sandbox or configured.no_proxy
    with_exceptions = parse_no_proxy(listed or _variable(environment, "no_proxy"))
    chosen = configured.sandbox or configured.everything or SYSTEM
    if chosen == DIRECT:
        return STRAIGHT
    if chosen != SYSTEM:
        proxy = parse_way(chosen)
        return Routes(plain=proxy, other=proxy, no_proxy=with_exceptions)
    return Routes(
        plain=_from_variables(environment, "http_proxy"),
        other=_from_variables(environment, "https_proxy"),
        no_proxy=with_exceptions,
    )


def check_setting(text: str) -> str:
    """A value for the settings `proxy` and `proxy.sandbox`.

    Raises:
        UserError: it is none.
    """
    if text not in ("", SYSTEM, DIRECT):
        parse_way(text, may_have_password=False)
    return text


def _from_variables(environment: Mapping[str, str], name: str) -> ProxyServer | None:
    for each in (name, "all_proxy"):
        if text := _variable(environment, each):
            try:
                return parse_proxy(text)
            except UserError as error:
                words = f"variable {each.upper()}: {error.message}"
                raise UserError(words, hint=error.hint) from error
    return None


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _bad(text: str, why: str) -> UserError:
    place = text.rpartition("@")[2]  # what stands before may be a password
    return UserError(f'this is no proxy: "{printable(place)}": {why}', hint=f"Use {_FORMS}")
