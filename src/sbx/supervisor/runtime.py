# SPDX-License-Identifier: Apache-2.0
"""From a specification to a running sandbox: the whole bring-up, in order, on one exit stack.

Read this first. Each step is a requirement of `readiness` with a deadline; each thing that is made
enters the stack, so that a failure, a stop or a cancellation undoes all of it in reverse. The rules
of the network stand before the machine runs (docs/security.md, I1).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from sbx.agent.control import AgentControl, AgentEvent
from sbx.agent.handshake import authenticate
from sbx.errors import HostError, SbxError, TransientError
from sbx.network.link import Network, open_network
from sbx.sandbox import addresses
from sbx.sandbox.parts import Accel
from sbx.store import paths as names
from sbx.supervisor import readiness
from sbx.supervisor.events import Events
from sbx.supervisor.guest_setup import DATA_SERIAL, SHARE_TAG, assembly, identity, layer_serial
from sbx.supervisor.plan import Parts, Plan, find_accel, find_parts
from sbx.system.cgroup import Cgroup
from sbx.system.files import owned_fd
from sbx.vm.disk import check_space, create_disk, open_disk
from sbx.vm.machine import Machine, MachineConfig, start_machine
from sbx.vm.outcome import MachineEnd
from sbx.vm.resources import check_memory_free, host_capacity
from sbx.workspace.share import Share, open_share

_SESSION_KEY_BYTES = 32

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A sandbox that is up."""

    accel: Accel
    machine: Machine
    network: Network
    share: Share | None
    agent: AgentControl
    session_key: bytes

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


@contextlib.asynccontextmanager
async def bring_up(
    plan: Plan, events: Events, on_agent_event: Callable[[AgentEvent], None]
) -> AsyncGenerator[Runtime]:
    """Bring a sandbox up; at the end of the block everything of it is gone but its disk.

    Raises:
        SbxError: what failed, in the words of the step.
    """
    spec, key = plan.spec, secrets.token_bytes(_SESSION_KEY_BYTES)
    async with contextlib.AsyncExitStack() as stack:
        async with events.phase(readiness.PARTS):
            parts = find_parts(plan)
        async with events.phase(readiness.ACCEL):
            accel = await asyncio.to_thread(find_accel, plan, parts)
        async with events.phase(readiness.NETWORK):
            network = await stack.enter_async_context(open_network())
        async with events.phase(readiness.SHARE):
            share = await _share(plan, parts, stack)
        async with events.phase(readiness.MACHINE):
            check_memory_free(spec.resources, host_capacity())
            cgroup = stack.enter_context(plan.cgroup())
            config = _machine_config(plan, parts, accel, network)
            machine = await stack.enter_async_context(start_machine(config))
            network.close_taps()
            _limit(cgroup, machine, share)
        async with events.phase(readiness.BOOT):
            agent = await stack.enter_async_context(AgentControl.over(machine.agent_socket))
            agent.on_event = on_agent_event
            await _while_alive(machine, agent.ready())
        async with events.phase(readiness.CONFIGURE):
            await _while_alive(machine, agent.configure(identity(spec, key)))
        async with events.phase(readiness.PLUG):
            await _plug(plan, parts, machine, share)
        async with events.phase(readiness.ASSEMBLE):
            await _while_alive(
                machine, agent.assemble(assembly(spec, data_is_new=plan.is_first_start))
            )
        yield Runtime(
            accel=accel, machine=machine, network=network, share=share, agent=agent, session_key=key
        )


async def _share(plan: Plan, parts: Parts, stack: contextlib.AsyncExitStack) -> Share | None:
    if not plan.spec.mounts:
        return None
    log_path = plan.folder / names.SHARE_LOG
    share = open_share(parts.runtime, plan.spec.mounts, log_path=log_path)
    return await stack.enter_async_context(share)


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


async def _plug(plan: Plan, parts: Parts, machine: Machine, share: Share | None) -> None:
    """Attach layers, data disk and share."""
    for number, layer in enumerate(parts.layers):
        with owned_fd(os.open(layer.path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
            await machine.plug_disk(serial=layer_serial(number), fd=fd, read_only=True)
    with owned_fd(_data_disk(plan)) as fd:
        await machine.plug_disk(serial=DATA_SERIAL, fd=fd, read_only=False)
    if share is not None:
        with share.connect() as sock:
            await machine.plug_share(tag=SHARE_TAG, sock=sock)


def _data_disk(plan: Plan) -> int:
    path = plan.folder / names.DATA_DISK
    if plan.is_first_start and not path.exists():
        create_disk(path, plan.spec.resources.disk_bytes)
    check_space(plan.folder)
    return open_disk(path)


def machine_ended(end: MachineEnd) -> SbxError:
    """The sentence for a machine that ended by itself."""
    return TransientError(
        f"the virtual machine ended: {end}",
        hint="The disk is kept; start the sandbox again, or see console.log in its folder",
        details="\n".join(filter(None, (end.stderr, end.console))) or None,
    )


async def _while_alive(machine: Machine, work: Coroutine[Any, Any, T]) -> T:
    """Await the guest, but not longer than its machine lives.

    Raises:
        SbxError: the machine ended, with what its console said last.
    """
    async with contextlib.AsyncExitStack() as stack:
        doing = asyncio.create_task(work, name="guest-request")
        ending = asyncio.create_task(machine.wait(), name="machine-end")
        stack.push_async_callback(cancel, doing, ending)
        await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise machine_ended(ending.result())
        return doing.result()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are over, whatever they raise."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
