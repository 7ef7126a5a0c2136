# SPDX-License-Identifier: Apache-2.0
"""By which proxy sbx itself goes out: to registries, and to whoever gives out a login."""

from __future__ import annotations

import os
from urllib.parse import quote

from sbx.cli.app import App
from sbx.errors import UserError


def own_proxy(app: App, host: str, port: int) -> str | None:
    """The setting `proxy.daemon`, else `proxy`; None leaves it to the variables (`Choose`).

    Raises:
        UserError: what is set is no HTTP proxy.
    """
    settings = app.settings
    own, everything = settings.text("proxy.daemon"), settings.text("proxy")
    if not own and not everything:
        return None
    from sbx.policy.hosts import Endpoint, parse_host
    from sbx.policy.routes import Configured, ProxyServer, Scheme, find_routes

    configured = Configured(
        sandbox=own,
        everything=everything,
        no_proxy_sandbox=settings.text("no_proxy.daemon"),
        no_proxy=settings.text("no_proxy"),
    )
    way = find_routes(configured, os.environ).choose(Endpoint(host=parse_host(host), port=port))
    if way is None:
        return ""
    if not isinstance(way, ProxyServer) or way.scheme is not Scheme.HTTP:
        raise UserError(
            f"sbx itself cannot go out by {way}: only by http:// proxies",
            hint="Run: sbx settings set proxy.daemon http://HOST:PORT (or `direct`)",
        )
    who = "" if way.username is None else f"{quote(way.username)}:{quote(way.password)}@"
    return f"http://{who}{str(way).partition('://')[2]}"
