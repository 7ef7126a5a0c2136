# SPDX-License-Identifier: Apache-2.0
"""The way out of one sandbox, put together: policy, DNS, explicit and transparent proxy.

Served on the listening sockets of the sandbox's network before its machine runs; servers are
dialled from the host's own network (docs/proxy.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence

from sbx.network.link import Listeners
from sbx.proxy.accept import Acceptor
from sbx.proxy.context import Context
from sbx.proxy.dns.answers import Answers
from sbx.proxy.dns.standins import StandIns
from sbx.proxy.dns_server import DnsServer
from sbx.proxy.events import Event
from sbx.proxy.explicit import ExplicitProxy
from sbx.proxy.intercept.tokens import Renewing
from sbx.proxy.limits import Limits
from sbx.proxy.resolver import HostResolver
from sbx.proxy.transparent import TransparentProxy
from sbx.proxy.upstream import Upstream
from sbx.sandbox.recipe import KitService
from sbx.store.paths import Paths
from sbx.supervisor.alive import cancel
from sbx.supervisor.credentials import Credentials, Inside
from sbx.supervisor.policy_watch import PolicyWatch
from sbx.supervisor.upstream_routes import upstream_routes

log = logging.getLogger(__name__)

OnEvent = Callable[[Event], None]


class WayOut:
    """What serves the guest's DNS questions and connections, as long as `open_way_out` lasts."""

    def __init__(
        self,
        policy: PolicyWatch,
        upstream: Upstream,
        credentials: Credentials,
        sandbox: str,
        on_event: OnEvent,
        *,
        approvals: bool,
    ) -> None:
        self._policy = policy
        self._credentials = credentials
        self._limits = limits = Limits()
        self._names = StandIns()
        self._on_event = on_event
        self._context = Context(
            policy=policy.policy,
            names=self._names,
            upstream=upstream,
            connections=policy.connections,
            on_event=on_event,
            limits=limits,
            sandbox=sandbox,
            approvals=approvals,
            interception=credentials.interception,
        )
        credentials.logins.renewer = Renewing(self._context, credentials.interception)
        self._serving: asyncio.Task[None] | None = None

    def start(self, listeners: Listeners) -> None:
        """Serve from now on."""
        self._serving = asyncio.create_task(self._serve(listeners), name="way-out")

    def inside(self) -> Inside:
        """What the machine is told of credentials (HostError: the authority cannot be stored)."""
        return self._credentials.inside()

    async def login_files(self) -> dict[str, str]:
        """What the agents' own files hold, by their paths below the home folder: stand-ins."""
        return await self._credentials.login_files()

    async def refresh_policy(self) -> None:
        """Return when stored policy and credentials are in force (PermanentError: no reading)."""
        await self._policy.refresh()

    @property
    def connections(self) -> int:
        """How many lead to servers now."""
        return len(self._context.connections)

    async def wait(self) -> None:
        """Wait for its end, which is an accident unless it is closed."""
        if self._serving is not None:
            await asyncio.wait([self._serving])
            log.error("the way out ended", exc_info=self._serving.exception())

    async def close(self) -> None:
        """End it with all connections."""
        if self._serving is not None:
            await cancel(self._serving)

    async def _serve(self, listeners: Listeners) -> None:
        context, most = self._context, self._limits.max_connections
        dns = DnsServer(Answers(self._policy.policy, self._names), self._on_event, self._limits)
        explicit = Acceptor(listeners.explicit, ExplicitProxy(context).handle, most)
        transparent = Acceptor(listeners.transparent, TransparentProxy(context).handle, most)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._policy.follow(), name="policy")
            tasks.create_task(dns.serve(listeners.dns_udp, listeners.dns_tcp), name="dns")
            tasks.create_task(explicit.serve(), name="explicit proxy")
            tasks.create_task(transparent.serve(), name="transparent proxy")


@contextlib.asynccontextmanager
async def open_way_out(
    where: Paths,
    sandbox: str,
    listeners: Listeners,
    on_event: OnEvent,
    *,
    approvals: bool = False,
    services: Sequence[KitService] = (),
) -> AsyncGenerator[WayOut]:
    """Serve a sandbox's ways out for the block; `on_event` is told of every decision.

    With `approvals`, a block of what no rule allows says that the user is being asked. `services`
    are those of kits that the user agreed to.

    What the policy is matters to nobody here: without one, everything is denied.
    """
    credentials = Credentials(where, sandbox, services)
    policy = PolicyWatch(where, sandbox, credentials.refresh)
    limits = Limits()
    resolver = HostResolver(limits.max_lookups)
    upstream = Upstream(policy.policy, resolver, limits, upstream_routes(where))
    way_out = WayOut(policy, upstream, credentials, sandbox, on_event, approvals=approvals)
    try:
        await policy.start()
        way_out.start(listeners)
        yield way_out
    finally:
        await way_out.close()
        await upstream.close()
        policy.close()
        resolver.close()
