# SPDX-License-Identifier: Apache-2.0
"""One sandbox's supervisor: brings it up, answers the command line, and brings it down again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import signal
import socket
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar, assert_never

from sbx.agent.control import (
    AgentEvent,
    DiskEvent,
    LogEvent,
    SandboxEndedEvent,
    SessionsEvent,
)
from sbx.control.messages import Reply, Request, Verb
from sbx.control.server import Connection, serve_control
from sbx.errors import ConflictError, PermanentError, SbxError, TransientError
from sbx.lifecycle.warm import make_in_background
from sbx.sandbox.parts import Accel
from sbx.sandbox.record import Failure
from sbx.sandbox.spec import SandboxSpec
from sbx.sandbox.state import State, move
from sbx.sandbox.status import DiskState, Live
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.store.rules import forget_session
from sbx.store.settings import load_settings
from sbx.supervisor.alive import cancel, machine_ended
from sbx.supervisor.canaries import Canaries
from sbx.supervisor.clock import follow_clock
from sbx.supervisor.events import Events
from sbx.supervisor.guest_git import GuestGit, bring_over
from sbx.supervisor.guest_setup import DATA_SERIAL
from sbx.supervisor.idle import IdleTimer
from sbx.supervisor.plan import Plan
from sbx.supervisor.recorder import Recorder
from sbx.supervisor.runtime import Runtime, bring_up
from sbx.supervisor.space import keep_going, standing_still
from sbx.supervisor.spare import SpareSession
from sbx.supervisor.way_out import OnEvent
from sbx.system.cgroup import find_support
from sbx.system.fds import allow_descriptors
from sbx.system.files import private_folder
from sbx.system.locks import try_lock
from sbx.system.logs import log_to_file
from sbx.system.text import printable
from sbx.vm.disk import check_growth
from sbx.vm.stop import StopStep, stop_machine

log = logging.getLogger(__name__)

T = TypeVar("T")

_STATS_TIMEOUT_S = 1.0
_DESCRIPTORS = 4096  # two for each connection of the way out (proxy.limits), and some for ourselves
_SHUTDOWN_GRACE_S = 10.0
_SAME_CAUSE_S = 1.0  # within it, the machine's end is why the file server ended


def supervise(where: Paths, name: str, *, report: socket.socket, slot: int) -> None:
    """Run one sandbox from start to stop; returns when nothing of it runs any more."""
    folder = where.sandbox(name)
    allow_descriptors(_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold credentials
    log_to_file(folder / names.SUPERVISOR_LOG)
    events = Events(folder / names.EVENTS, report)
    lock = try_lock(folder / names.SUPERVISOR_LOCK)
    if lock is None:
        events.fail(
            ConflictError(f"sandbox `{name}` is just being started or stopped", hint="Try again")
        )
        return
    spec = records.read_spec(where, name)
    record = records.read_record(where, name)
    settings = load_settings(where)
    plan = Plan(
        where=where,
        spec=spec,
        folder=folder,
        is_first_start=record.starts == 0,
        cgroups=find_support(),
        approvals=settings.flag("policy.approvals"),
        stops_on_canary=settings.flag("sandbox.stopOnCanary"),
        published=record.published,
    )
    end_session_rules(where, name)  # of a supervisor that was killed
    grace_s = float(settings.number("sandbox.autoStopSeconds"))
    asyncio.run(Supervisor(plan, events, slot=slot, grace_s=grace_s).run())


def end_session_rules(where: Paths, name: str) -> None:
    """Forget what was allowed until the stop; a policy that cannot be read has no rules."""
    try:
        forget_session(where, name)
    except SbxError as error:
        log.warning("rules until the stop are not removed: %s", error.message)


class Supervisor:
    """The life of one sandbox, from `starting` to `stopped` or `failed`."""

    def __init__(self, plan: Plan, events: Events, *, slot: int, grace_s: float) -> None:
        self._plan = plan
        self._events = events
        self._slot: int | None = slot
        self._state = State.STARTING
        self._runtime: Runtime | None = None
        self._git: GuestGit | None = None
        self._spare: SpareSession | None = None
        self._ready_at = 0.0
        self._settled = asyncio.Event()  # the bring-up is over, well or not
        self._stop_asked = asyncio.Event()
        self._stoppers: list[Connection] = []
        self._failure: SbxError | None = None
        self._idle = IdleTimer(grace_s, self._expire)
        self._keep = False
        self._disk_state = DiskState.OK
        self._life: asyncio.Task[StopStep | None] | None = None

    @property
    def _spec(self) -> SandboxSpec:
        return self._plan.spec

    async def run(self) -> None:
        """Bring up, serve, bring down."""
        where, name = self._plan.where, self._spec.name
        run_folder = private_folder(where.run_folder(self._spec.id))
        record = records.update_record(
            where,
            name,
            supervisor_pid=os.getpid(),
            failure=None,
            cgroup=self._plan.cgroups.place(self._spec.id),
        )
        self._keep = record.detached
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._ask_stop)
        async with serve_control(run_folder / names.CONTROL_SOCKET, self._handle):
            self._events.write("started", pid=os.getpid())
            recorder = Recorder(
                where, name, self._spec.id, self._events, approvals=self._plan.approvals
            )
            stop = self._stop_because if self._plan.stops_on_canary else None
            taker = Canaries(where, name, self._events, recorder, stop)
            self._life = asyncio.create_task(self._live(taker), name="life")
            step: StopStep | None = None
            with contextlib.suppress(asyncio.CancelledError):  # stopped before it was up
                step = await self._life
            await recorder.close()
            end_session_rules(where, name)
            self._write_end()
            shutil.rmtree(run_folder, ignore_errors=True)
            await self._answer_stoppers(step)

    async def _live(self, on_network_event: OnEvent) -> StopStep | None:
        """From the first step of the bring-up until nothing runs any more."""
        try:
            async with (
                bring_up(
                    self._plan, self._events, self._on_agent_event, on_network_event
                ) as runtime,
                bring_over(self._plan, runtime.open_session) as self._git,
            ):
                self._set_running(runtime)
                await self._until_over(runtime)
                self._state = move(self._state, State.STOPPING)
                self._events.write("stopping")
                if self._git is not None:
                    await self._git.finish()
                return await stop_machine(
                    runtime.machine, lambda: runtime.agent.shutdown(grace_s=_SHUTDOWN_GRACE_S)
                )
        except SbxError as error:
            self._fail(error)
        except Exception as error:
            log.exception("defect")
            self._fail(PermanentError(f"defect: {type(error).__name__}: {error}"))
        finally:
            self._runtime = None
            self._git = None
            if self._spare is not None:
                await self._spare.close()
            self._idle.cancel()
            self._free_slot()
            self._settled.set()
            self._events.hang_up()
        return None

    def _set_running(self, runtime: Runtime) -> None:
        self._free_slot()
        self._runtime = runtime
        self._spare = SpareSession(runtime.open_session)
        self._ready_at = time.monotonic()
        self._state = move(self._state, State.RUNNING)
        records.update_record(
            self._plan.where,
            self._spec.name,
            accel=runtime.accel,
            starts=records.read_record(self._plan.where, self._spec.name).starts + 1,
        )
        self._events.write("ready")
        self._events.tell(State.RUNNING, "ready")
        self._events.hang_up()
        self._settled.set()
        self._idle.keep(keep=self._keep)  # starts the grace period
        self._spare.prepare()
        if not runtime.is_restored:
            asyncio.get_running_loop().run_in_executor(None, self._make_snapshot, runtime.accel)

    def _make_snapshot(self, accel: Accel) -> None:
        """The next start of such a machine shall be a warm one."""
        try:
            make_in_background(self._plan.where.cache, cpus=self._spec.resources.cpus, accel=accel)
        except SbxError as error:
            log.warning("no snapshot is made: %s", error.message)

    async def _until_over(self, runtime: Runtime) -> None:
        """Wait for a request to stop.

        Raises:
            SbxError: machine, file server, network or way out ended by themselves.
        """
        waits = {
            asyncio.create_task(self._stop_asked.wait(), name="stop"): "stop",
            asyncio.create_task(runtime.machine.wait(), name="machine"): "machine",
            asyncio.create_task(runtime.network.wait(), name="network"): "network helper",
            asyncio.create_task(runtime.way_out.wait(), name="way-out-end"): "way out",
        }
        going = keep_going(runtime.machine, runtime.agent, self._plan.folder, self._events)
        beside = (
            asyncio.create_task(going, name="space"),
            asyncio.create_task(follow_clock(runtime.agent, self._events), name="clock"),
        )
        if runtime.share is not None:
            waits[asyncio.create_task(runtime.share.wait(), name="share")] = "file server"
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if {waits[task] for task in done} == {"file server"}:  # it ends with its machine, too
                done, _ = await asyncio.wait(waits, timeout=_SAME_CAUSE_S)
        finally:
            await cancel(*waits, *beside)
        over = {waits[task] for task in done}
        if "stop" in over:
            return
        if "machine" in over:
            raise machine_ended(await runtime.machine.wait())
        raise TransientError(
            f"the sandbox's {over.pop()} ended by itself",
            hint=f"The disk is kept; start it again with: sbx run --name {self._spec.name}",
        )

    async def _handle(self, connection: Connection, request: Request) -> None:
        match request.verb:
            case Verb.STATUS:
                await connection.reply(Reply(live=await self._status(details=request.details)))
            case Verb.READY:
                await self._settled.wait()
                if self._failure is not None:
                    raise self._failure
                await connection.reply(Reply())
            case Verb.SESSION:
                await self._lend_session(connection)
            case Verb.KEEP:
                self._keep = request.keep
                records.update_record(self._plan.where, self._spec.name, detached=request.keep)
                if self._state is State.RUNNING:
                    self._idle.keep(keep=request.keep)
                await connection.reply(Reply())
            case Verb.SYNC:
                if self._git is not None:
                    await self._git.sync()
                await connection.reply(Reply())
            case Verb.POLICY:
                await self._enforce_policy()
                await connection.reply(Reply())
            case Verb.PORTS:
                await connection.reply(await self._change_ports(request))
            case Verb.GROW:
                await connection.reply(await self._grow_disk(request.disk_bytes))
            case Verb.STOP:
                self._stoppers.append(connection)
                self._ask_stop()
                await asyncio.Event().wait()  # answered by `run`, which then ends this task
            case _:
                assert_never(request.verb)

    async def _enforce_policy(self) -> None:
        """A bring-up may have read the policy before it changed, so wait for its end."""
        await self._settled.wait()
        if (runtime := self._runtime) is not None:
            await runtime.way_out.refresh_policy()
            await runtime.log_in(self._spec.user)

    async def _change_ports(self, request: Request) -> Reply:
        """What is published now is what is published at the next start."""
        runtime = self._runtime
        if runtime is None or self._state is not State.RUNNING:
            raise TransientError(f"sandbox `{self._spec.name}` is {self._state}", hint="Try again")
        came = await runtime.ports.publish(request.publish)
        gone = await runtime.ports.unpublish(request.unpublish)
        records.update_record(
            self._plan.where, self._spec.name, published=runtime.ports.publications
        )
        return Reply(ports=came, gone=gone)

    async def _grow_disk(self, size_bytes: int) -> Reply:
        runtime = self._runtime
        if runtime is None or self._state is not State.RUNNING:
            raise TransientError(f"sandbox `{self._spec.name}` is {self._state}", hint="Try again")
        check_growth(self._plan.folder / names.DATA_DISK, size_bytes)
        await runtime.machine.grow_disk(serial=DATA_SERIAL, size_bytes=size_bytes)
        await runtime.agent.grow_disk(size_bytes)
        self._events.write("disk-grown", size_bytes=size_bytes)
        return Reply()

    async def _lend_session(self, connection: Connection) -> None:
        """Hand out a session's socket; the lease lasts as long as the connection."""
        runtime, spare = self._runtime, self._spare
        if runtime is None or spare is None or self._state is not State.RUNNING:
            raise TransientError(f"sandbox `{self._spec.name}` is {self._state}", hint="Try again")
        if runtime.machine.is_disk_full:
            raise standing_still(self._spec.name, self._plan.folder)
        self._idle.lease(+1)
        git = self._git
        if git is not None:
            git.session_began()
        try:
            sock = await spare.take()
            with sock:
                await connection.reply(Reply(), fds=(sock.fileno(),))
            await connection.closed()
        finally:
            self._idle.lease(-1)
            if git is not None:
                git.session_ended()
            if self._state is State.RUNNING:
                spare.prepare()
                self._touch()

    async def _status(self, *, details: bool) -> Live:
        runtime = self._runtime
        stats = dropped = None
        if details and runtime is not None:
            stats, dropped = await asyncio.gather(
                _in_time(runtime.agent.stats()), _in_time(runtime.network.counters())
            )
        share = runtime.share if runtime is not None else None
        return Live(
            state=self._state,
            pid=os.getpid(),
            uptime_s=round(time.monotonic() - self._ready_at, 3) if self._ready_at else 0.0,
            sessions=self._idle.sessions,
            accel=runtime.accel if runtime is not None else None,
            machine_pid=runtime.machine.pid if runtime is not None else None,
            share_pid=share.pid if share is not None else None,
            helper_pid=runtime.network.helper_pid if runtime is not None else None,
            disk_used_bytes=stats.disk_used_bytes if stats is not None else None,
            disk_size_bytes=stats.disk_size_bytes if stats is not None else None,
            memory_used_bytes=stats.memory_used_bytes if stats is not None else None,
            disk_state=self._disk_state_now(),
            ports=runtime.ports.bindings if runtime is not None else (),
            connections=runtime.way_out.connections if runtime is not None else 0,
            dropped=dropped,
        )

    def _disk_state_now(self) -> DiskState:
        is_full = self._runtime is not None and self._runtime.machine.is_disk_full
        return DiskState.HOST_FULL if is_full else self._disk_state

    def _on_agent_event(self, event: AgentEvent) -> None:
        """Something the guest says: hostile input, already parsed and bounded."""
        match event:
            case SessionsEvent():
                self._idle.inside(event.attached + event.detached)
            case DiskEvent():
                self._disk_state = DiskState(event.state.value)
                self._events.write("disk", state=event.state.value, free_bytes=event.free_bytes)
            case LogEvent():
                log.info("guest: %s", printable(event.text))
            case SandboxEndedEvent():
                log.info("the sandbox's first process ended")
                self._events.write("sandbox-ended")
                self._ask_stop()
            case _:
                assert_never(event)

    def _ask_stop(self) -> None:
        self._stop_asked.set()
        if self._state is State.STARTING and self._life is not None:
            self._life.cancel()

    def _stop_because(self, error: SbxError) -> None:
        if self._failure is None:
            log.error("%s", error.message)
            self._failure = error
        self._ask_stop()

    def _expire(self) -> None:
        log.info("auto-stop grace period expired, stopping runtime")
        self._events.write("auto-stop")
        self._ask_stop()

    def _touch(self) -> None:
        records.update_record(self._plan.where, self._spec.name, last_used_at=datetime.now(UTC))

    def _fail(self, error: SbxError) -> None:
        log.error("%s (hint: %s)\n%s", error.message, error.hint, error.details or "")
        self._failure = error
        self._state = move(self._state, State.FAILED)
        self._events.fail(error)

    def _write_end(self) -> None:
        """Leave a record that tells what is true now: nothing runs."""
        error, failure = self._failure, None
        if error is not None:
            failure = Failure(
                message=error.message, hint=error.hint, details=error.details, at=datetime.now(UTC)
            )
        if self._state is not State.FAILED:
            self._state = State.STOPPED
        records.update_record(
            self._plan.where,
            self._spec.name,
            supervisor_pid=None,
            cgroup=None,
            stopped_at=datetime.now(UTC),
            failure=failure,
        )
        self._events.write("ended", state=self._state.value)

    async def _answer_stoppers(self, step: StopStep | None) -> None:
        for connection in self._stoppers:
            with contextlib.suppress(OSError):
                await connection.reply(Reply(step=step.value if step is not None else None))

    def _free_slot(self) -> None:
        """Let the next machine boot."""
        if self._slot is not None:
            os.close(self._slot)
            self._slot = None


async def _in_time(figures: Awaitable[T]) -> T | None:
    """Figures for a person who waits; None if they cannot be had soon."""
    try:
        async with asyncio.timeout(_STATS_TIMEOUT_S):
            return await figures
    except (SbxError, TimeoutError):
        return None
