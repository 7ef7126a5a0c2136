# SPDX-License-Identifier: Apache-2.0
"""Which proxies of the user's network the way out takes: settings and variables, at its start."""

from __future__ import annotations

import os

from sbx.policy.routes import Configured, Routes, find_routes
from sbx.store.paths import Paths
from sbx.store.settings import load_settings

# A proxy for sandboxes with a password comes by this variable, because a setting holds none.
_SANDBOX_PROXY = "DOCKER_SANDBOXES_PROXY"


def upstream_routes(where: Paths) -> Routes:
    """The routes in force (docs/proxy.md).

    Raises:
        UserError: a setting or variable cannot be read.
    """
    settings = load_settings(where)
    sandbox = settings.text("proxy.sandbox")  # checks the variable as well
    configured = Configured(
        sandbox=os.environ.get(_SANDBOX_PROXY) or sandbox,
        everything=settings.text("proxy"),
        no_proxy_sandbox=settings.text("no_proxy.sandbox"),
        no_proxy=settings.text("no_proxy"),
    )
    return find_routes(configured, os.environ)
