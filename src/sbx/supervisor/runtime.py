# SPDX-License-Identifier: Apache-2.0
"""From a specification to a running sandbox: the whole bring-up, in order, on one exit stack.

Read this first. Each step is a requirement of `readiness` with a deadline; each thing that is made
enters the stack, so that a failure, a stop or a cancellation undoes all of it in reverse. The rules
of the network and the way out stand before the machine runs (docs/security.md, I1).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbx.agent.control import AgentControl, AgentEvent
from sbx.agent.handshake import authenticate
from sbx.errors import HostError
from sbx.lifecycle.identity import SESSION_KEY_BYTES
from sbx.network.link import Network, open_network
from sbx.sandbox import addresses
from sbx.sandbox.parts import Accel
from sbx.store import paths as names
from sbx.supervisor import guest_git, readiness
from sbx.supervisor.alive import together, while_alive
from sbx.supervisor.credentials import Inside
from sbx.supervisor.events import Events
from sbx.supervisor.guest_setup import DATA_SERIAL, SHARE_TAG, assembly, identity, layer_serial
from sbx.supervisor.plan import Parts, Plan, find_accel, find_parts
from sbx.supervisor.private import mount_private
from sbx.supervisor.warm_start import Awake, fill_memory, find_warm, wake
from sbx.system.cgroup import Cgroup
from sbx.system.files import owned_fd
from sbx.vm.disk import check_space, create_disk, format_disk, open_disk
from sbx.vm.machine import Machine, MachineConfig
from sbx.vm.resources import check_memory_free, host_capacity
from sbx.workspace.share import Share, open_share

if TYPE_CHECKING:
    from sbx.supervisor.published import PublishedPorts
    from sbx.supervisor.way_out import OnEvent, WayOut

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A sandbox that is up."""

    accel: Accel
    machine: Machine
    network: Network
    way_out: WayOut
    ports: PublishedPorts
    share: Share | None
    agent: AgentControl
    session_key: bytes
    is_restored: bool  # from a snapshot, not booted

    async def open_session(self) -> socket.socket:
        """A socket to the guest agent that has proved itself, for one session; the caller's.

        Raises:
            TransientError: the agent does not answer.
        """
        sock = await self.network.connect_agent()
        try:
            await authenticate(sock, self.session_key)
        except BaseException:
            sock.close()
            raise
        return sock

    async def log_in(self, user: str) -> None:
        """Give agents that the user is logged in with their files, with stand-ins."""
        from sbx.supervisor.login_files import write_login_files  # noqa: PLC0415 - as `way_out`

        await write_login_files(self.way_out, self.open_session, user)


@contextlib.asynccontextmanager
async def bring_up(
    plan: Plan,
    events: Events,
    on_agent_event: Callable[[AgentEvent], None],
    on_network_event: OnEvent,
) -> AsyncGenerator[Runtime]:
    """Bring a sandbox up; at the end of the block everything of it is gone but its disk.

    `on_agent_event` hears what the guest says, `on_network_event` what its way out decides.

    Raises:
        SbxError: what failed, in the words of the step.
    """
    spec, key = plan.spec, secrets.token_bytes(SESSION_KEY_BYTES)
    async with contextlib.AsyncExitStack() as stack:
        async with events.phase(readiness.PARTS):
            parts = find_parts(plan)
        async with events.phase(readiness.ACCEL):
            accel = await asyncio.to_thread(find_accel, plan, parts)
            check_memory_free(spec.resources, host_capacity())
        warm = stack.enter_context(find_warm(plan, parts, accel))
        async with together() as steps:
            networking = steps.create_task(_network(plan, events, stack, on_network_event))
            steps.create_task(_disk(plan, parts, events))
            sharing = steps.create_task(_share(plan, parts, events, stack))
            filling = steps.create_task(fill_memory(warm, events))
        (network, way_out, ports), share = networking.result(), sharing.result()
        inside = await asyncio.to_thread(way_out.inside)
        cgroup = stack.enter_context(plan.cgroup())
        awake = await stack.enter_async_context(
            wake(
                _machine_config(plan, parts, accel, network),
                filling.result(),
                events,
                lambda machine: _limit(cgroup, machine, share),
            )
        )
        machine, agent = awake.machine, awake.agent
        network.close_taps()
        agent.on_event = on_agent_event
        async with together() as steps:
            steps.create_task(_plug(plan, parts, machine, share, events))
            steps.create_task(while_alive(machine, _set_up(plan, key, awake, events, inside)))
        await awake.grow()
        ports.serve()
        runtime = Runtime(
            accel=accel,
            machine=machine,
            network=network,
            way_out=way_out,
            ports=ports,
            share=share,
            agent=agent,
            session_key=key,
            is_restored=awake.is_restored,
        )
        if spec.private_paths:
            async with events.phase(readiness.PRIVATE):
                await while_alive(machine, mount_private(spec, runtime.open_session))
        if spec.git is not None:
            step = readiness.GIT if spec.git.url is None else readiness.CLONE
            async with events.phase(step):
                await while_alive(machine, guest_git.set_up(spec, runtime.open_session))
        await while_alive(machine, runtime.log_in(spec.user))
        yield runtime


async def _network(
    plan: Plan, events: Events, stack: contextlib.AsyncExitStack, on_event: OnEvent
) -> tuple[Network, WayOut, PublishedPorts]:
    """The rules, and then what they lead to."""
    # The proxies are a quarter of what a supervisor loads: while the network's helper starts.
    loading = asyncio.to_thread(importlib.import_module, "sbx.supervisor.way_out")
    async with events.phase(readiness.NETWORK):
        network, _ = await asyncio.gather(stack.enter_async_context(open_network()), loading)
    from sbx.supervisor.published import open_ports  # noqa: PLC0415 - as the next
    from sbx.supervisor.way_out import open_way_out  # noqa: PLC0415 - loaded just now

    async with events.phase(readiness.WAY_OUT):
        way_out = open_way_out(
            plan.where,
            plan.spec.name,
            network.listeners,
            on_event,
            approvals=plan.approvals,
            services=plan.spec.recipe.services,
        )
        serving = await stack.enter_async_context(way_out)
    async with events.phase(readiness.PORTS):
        ports = await stack.enter_async_context(open_ports(network, plan.published))
    return network, serving, ports


async def _share(
    plan: Plan, parts: Parts, events: Events, stack: contextlib.AsyncExitStack
) -> Share | None:
    if not plan.mounts:
        return None
    async with events.phase(readiness.SHARE):
        log_path = plan.folder / names.SHARE_LOG
        shields, gate = await asyncio.to_thread(plan.shields)
        share = open_share(
            parts.runtime, plan.mounts, log_path=log_path, shields=shields, gate=gate
        )
        return await stack.enter_async_context(share)


async def _disk(plan: Plan, parts: Parts, events: Events) -> None:
    """Make the data disk if this sandbox was never up."""
    path = plan.folder / names.DATA_DISK
    check_space(plan.folder)
    if not plan.is_first_start or path.exists():
        return
    async with events.phase(readiness.DISK):
        create_disk(path, plan.spec.resources.disk_bytes)
        await asyncio.to_thread(format_disk, path, parts.runtime)


def _limit(cgroup: Cgroup | None, machine: Machine, share: Share | None) -> None:
    """Put what faces the guest under the limits of the host, where it lets us."""
    if cgroup is None:
        return
    try:
        for pid in (machine.pid, *((share.pid,) if share is not None else ())):
            cgroup.add(pid)
    except HostError as error:  # less limited, and no less isolated
        log.warning("%s", error.message)


def _machine_config(plan: Plan, parts: Parts, accel: Accel, network: Network) -> MachineConfig:
    return MachineConfig(
        runtime=parts.runtime,
        tools=parts.tools,
        resources=plan.spec.resources,
        accel=accel,
        taps=(
            (network.management_tap, addresses.MANAGEMENT_MAC),
            (network.sandbox_tap, addresses.SANDBOX_MAC),
        ),
        console_log=plan.folder / names.CONSOLE_LOG,
    )


async def _set_up(plan: Plan, key: bytes, awake: Awake, events: Events, inside: Inside) -> None:
    """Make the machine this sandbox's; the disks may still be on their way."""
    async with events.phase(readiness.CONFIGURE):
        await awake.agent.configure(identity(plan.spec, key))
    async with events.phase(readiness.ASSEMBLE):
        await awake.agent.assemble(
            assembly(
                plan.spec,
                plan.mounts,
                inside,
                data_is_new=plan.is_first_start,
                memory_growth_bytes=awake.growth_bytes,
                memory_awaited_bytes=awake.first_growth_bytes,
            )
        )


async def _plug(
    plan: Plan, parts: Parts, machine: Machine, share: Share | None, events: Events
) -> None:
    """Attach layers, data disk and share."""
    async with events.phase(readiness.PLUG):
        for number, layer in enumerate(parts.layers):
            with owned_fd(os.open(layer.path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
                await machine.plug_disk(serial=layer_serial(number), fd=fd, read_only=True)
        with owned_fd(open_disk(plan.folder / names.DATA_DISK)) as fd:
            await machine.plug_disk(serial=DATA_SERIAL, fd=fd, read_only=False)
        if share is not None:
            with share.connect() as sock:
                await machine.plug_share(tag=SHARE_TAG, sock=sock)
