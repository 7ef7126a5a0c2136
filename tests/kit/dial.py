# SPDX-License-Identifier: Apache-2.0
"""`dial.py SAID PROXY NO_PROXY HOST:PORT RULE...`: one connection as the supervisor makes it.

Prints the address that was dialled and what comes back, or why there is no connection. It is a
program, so that it can run in the test internet, and there by the routes of its arguments.
"""

from __future__ import annotations

import asyncio
import sys

from sbx.policy.hosts import parse_endpoint
from sbx.policy.routes import Configured, find_routes
from sbx.proxy.limits import Limits
from sbx.proxy.resolver import HostResolver
from sbx.proxy.upstream import BlockedError, Dialled, UnreachableError, Upstream
from tests.unit.policy.factories import policy


async def _dial(said: bytes, proxy: str, no_proxy: str, where: str, *rules: str) -> None:
    limits = Limits(connect_timeout_s=5.0)
    routes = find_routes(Configured(sandbox=proxy, no_proxy=no_proxy), {})
    upstream = Upstream(lambda: policy(*rules), HostResolver(2), limits, routes)
    try:
        await _show(await upstream.connect(parse_endpoint(where)), said)
    except (BlockedError, UnreachableError) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
    finally:
        await upstream.close()


async def _show(dialled: Dialled, said: bytes) -> None:
    loop = asyncio.get_running_loop()
    with dialled.sock as sock:
        sys.stdout.write(f"{dialled.address}\n")
        await loop.sock_sendall(sock, said)
        while data := await loop.sock_recv(sock, 65536):
            sys.stdout.write(data.decode())
            if data.endswith(said):
                return


asyncio.run(_dial(sys.argv[1].encode(), *sys.argv[2:]))
