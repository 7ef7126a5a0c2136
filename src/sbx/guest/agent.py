# SPDX-License-Identifier: Apache-2.0
"""The guest agent: what the supervisor asks for, in the order of a sandbox's life.

hello, configure (this machine is now this sandbox's), assemble (disks, shares, namespaces), then
sessions come and go beside set_time and stats, and shutdown ends it.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable

from . import cgroups
from .clock import add_entropy, set_time
from .control import ControlChannel, Handler, RequestError
from .disks import DiskError, freeze, grow_data, mount_data, mount_layer, wait_for_disk
from .engine import Engine
from .inside import Setup, become_init
from .links import Link, find_link, open_sandbox_network, read_text, set_up_management
from .loop import READ, Loop
from .memory import give_up_caches, memory_bytes, scale_limits, wait_for_memory
from .netlink import Uevents
from .place import Place
from .plan import Assembly
from .processors import rehearse_processors, wake_processors
from .server import SessionServer
from .shutdown import end_processes
from .syscalls import mount, power_off
from .wire import GENERATION, Fields, Json, WireError

BASE = "/run/sbx"
LAYERS, DATA, SHARE = f"{BASE}/layers", f"{BASE}/data", f"{BASE}/share"
_INIT = ["/usr/bin/busybox", "sleep", "infinity"]
_HARDWARE_TIMEOUT_S = 30.0
_ASSEMBLE_TIMEOUT_S = 60.0
_MEMORY_TIMEOUT_S = 20.0
_DISK_CHECK_S = 10.0
_DISK_LOW_BYTES = 512 << 20
_DISK_FULL_BYTES = 16 << 20
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_MAX_TIME_NS = 1 << 62
_MAX_DISK_BYTES = 1 << 50


class Agent:
    """The state of one machine."""

    def __init__(self, loop: Loop, *, end_machine: Callable[[], None] = power_off) -> None:
        self._loop = loop
        self._end_machine = end_machine
        self._channel: ControlChannel | None = None
        self._uevents = Uevents()
        self._server = SessionServer(loop, self._tell_sessions)
        self._told = (0, 0)
        self._hostname = ""
        self._machine_id = ""
        self._gateway: str | None = None
        self._network: int | None = None
        self._init_pid: int | None = None
        self._engine: Engine | None = None
        self._data_node = ""
        self._disk_state = "ok"
        self._is_stopping = False
        self._boot_memory_bytes = memory_bytes()

    @property
    def handlers(self) -> dict[str, Handler]:
        """What the control channel serves."""
        return {
            "hello": self.hello,
            "trim": self.trim,
            "configure": self.configure,
            "assemble": self.assemble,
            "grow_disk": self.grow_disk,
            "set_time": self.set_time,
            "stats": self.stats,
            "shutdown": self.shutdown,
        }

    def attach(self, channel: ControlChannel) -> None:
        """Tell events on this channel from now on."""
        self._channel = channel

    def log(self, text: str) -> None:
        """Tell the supervisor's log; a long text is cut."""
        self._tell({"event": "log", "text": text[-4000:]})

    # -- requests

    async def hello(self, fields: Fields) -> Json:
        """Who we are. Answered at any time: a supervisor that restored a snapshot asks first."""
        fields.integer("generation", 1, 1 << 30)
        return {
            "generation": GENERATION,
            "kernel": os.uname().release,
            "configured": bool(self._hostname),
        }

    async def trim(self, _fields: Fields) -> Json:
        """Give up what can be read again: the machine is about to be frozen."""
        rehearse_processors()
        give_up_caches()
        return {}

    async def configure(self, fields: Fields) -> Json:
        """Become one sandbox's machine: identity, clock, random pool, links, session key."""
        hostname, machine_id = fields.text("hostname", 64), fields.text("machine_id", 32)
        if not _HOSTNAME.fullmatch(hostname) or not _MACHINE_ID.fullmatch(machine_id):
            raise WireError("`hostname` or `machine_id`: not well formed")
        key, port = fields.data("session_key", 32), fields.integer("port", 1, 65535)
        if len(key) != 32:
            raise WireError("`session_key`: not 32 bytes")
        management, sandbox = _link(fields.fields("management")), _link(fields.fields("sandbox"))
        set_time(fields.integer("time_ns", 0, _MAX_TIME_NS))
        add_entropy(fields.data("entropy", 512))
        socket.sethostname(hostname)
        self._hostname, self._machine_id = hostname, machine_id
        self._gateway = sandbox.gateway
        self._server.set_key(key)
        if self._network is None:
            set_up_management(management, await self._wait_for_link(management.mac))
            name = await self._wait_for_link(sandbox.mac)
            self._network = open_sandbox_network(sandbox, name)
        self._server.listen(management.address, port)
        return {}

    async def assemble(self, fields: Fields) -> Json:
        """Put the sandbox together from the disks and shares that are there or on their way."""
        if not self._hostname:
            raise RequestError("order", "assemble before configure")
        if self._init_pid is not None:
            raise RequestError("order", "the sandbox is assembled already")
        plan = Assembly(fields)
        try:
            if plan.memory_growth_bytes:
                scale_limits(self._boot_memory_bytes + plan.memory_growth_bytes)
            # While the kernel finds the disks.
            cgroups.make_groups(self._boot_memory_bytes + plan.memory_growth_bytes)
            setup = await self._mount_parts(plan)
            wake_processors()  # now that no device will come any more
            self._server.place = await self._start_sandbox(setup)
            await self._wait_for_memory(plan.memory_awaited_bytes)
        except DiskError as error:
            raise RequestError("disk", str(error)) from error
        except OSError as error:
            raise RequestError("assemble", _explain(error)) from error
        self._server.place.user = plan.user
        self._server.place.workdir = plan.workdir
        self._server.place.env = plan.env
        self._check_disk()
        return {}

    async def set_time(self, fields: Fields) -> Json:
        """Correct the clock, after the host slept."""
        set_time(fields.integer("time_ns", 0, _MAX_TIME_NS))
        return {}

    async def grow_disk(self, fields: Fields) -> Json:
        """Fill the data disk, which the host has just made larger, while it is in use."""
        size_bytes = fields.integer("size_bytes", 1, _MAX_DISK_BYTES)
        if self._init_pid is None:
            raise RequestError("order", "grow_disk before assemble")
        try:
            await grow_data(
                self._loop, self._uevents, self._data_node, DATA, size_bytes, _HARDWARE_TIMEOUT_S
            )
        except DiskError as error:
            raise RequestError("disk", str(error)) from error
        except OSError as error:
            raise RequestError("disk", _explain(error)) from error
        self._report_disk()
        return {}

    async def stats(self, _fields: Fields) -> Json:
        """What the machine uses now."""
        found: Json = {"attached": self._server.attached, "detached": self._server.detached}
        for line in (read_text("/proc/meminfo") or "").splitlines()[:3]:
            name, _, rest = line.partition(":")
            key = {"MemTotal": "memory_bytes", "MemAvailable": "memory_available_bytes"}.get(name)
            if key is not None:
                found[key] = int(rest.split()[0]) * 1024
        found["load_1min"] = float((read_text("/proc/loadavg") or "0").split()[0])
        if self._init_pid is not None:
            facts = os.statvfs(DATA)
            found["disk_bytes"] = facts.f_blocks * facts.f_frsize
            found["disk_free_bytes"] = facts.f_bavail * facts.f_frsize
        return found

    async def shutdown(self, fields: Fields) -> Json:
        """End everything in order; the machine powers off after the answer."""
        grace_s = fields.integer("grace_s", 0, 3600)
        if self._is_stopping:
            raise RequestError("order", "the machine is going down already")
        self._is_stopping = True
        self._server.close()
        self._server.place = None
        clean = True
        try:
            if self._init_pid is not None:
                clean = await self._end_processes(self._init_pid, grace_s)
                freeze(DATA)
        except OSError as error:  # a broken data disk must not keep the machine on
            self.log(f"shutdown: {error}")
            clean = False
        self._server.stop_transfers()
        self._loop.call_after(0.0, self._power_off)
        return {"clean": clean}

    # -- steps

    async def _wait_for_link(self, mac: str) -> str:
        deadline = time.monotonic() + _HARDWARE_TIMEOUT_S
        while True:
            self._uevents.drain()
            name = find_link(mac)
            if name is not None:
                return name
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not await self._loop.readable(self._uevents.fileno(), left_s):
                raise RequestError("link", f"network link did not appear: {mac}")

    async def _mount_parts(self, plan: Assembly) -> Setup:
        setup = Setup(hostname=self._hostname, machine_id=self._machine_id, gateway=self._gateway)
        # In the reverse order of plugging: that is how the kernel comes upon them.
        if plan.share is not None:
            await self._wait_for_share(plan.share)
            os.makedirs(SHARE, exist_ok=True)
            if not os.path.ismount(SHARE):
                mount(plan.share, SHARE, "virtiofs")
            setup.share = SHARE
        node = await wait_for_disk(self._loop, self._uevents, plan.data, _HARDWARE_TIMEOUT_S)
        if not os.path.ismount(DATA):
            await mount_data(self._loop, node, DATA, is_new=plan.data_is_new)
        setup.data, self._data_node = DATA, node
        for index, serial in enumerate(plan.layers):
            node = await wait_for_disk(self._loop, self._uevents, serial, _HARDWARE_TIMEOUT_S)
            folder = f"{LAYERS}/{index}"
            if not os.path.ismount(folder):  # an earlier try may have come this far
                mount_layer(node, folder)
            setup.layers.append(folder)
        setup.mounts = plan.mounts
        setup.network = self._network
        setup.init = _INIT
        setup.workdir = plan.workdir
        setup.trust = plan.trust
        return setup

    async def _wait_for_share(self, tag: str) -> None:
        deadline = time.monotonic() + _HARDWARE_TIMEOUT_S
        while True:
            self._uevents.drain()
            if _has_share(tag):
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not await self._loop.readable(self._uevents.fileno(), left_s):
                raise RequestError("share", f"share did not appear: `{tag}`")

    async def _wait_for_memory(self, growth_bytes: int) -> None:
        """What is measured from the memory must be measured from all of it."""
        wanted = self._boot_memory_bytes + growth_bytes
        if growth_bytes and not await wait_for_memory(
            self._loop, self._uevents, wanted, _MEMORY_TIMEOUT_S
        ):
            self.log(f"memory is short: {memory_bytes() >> 20} of {wanted >> 20} MiB")

    async def _start_sandbox(self, setup: Setup) -> Place:
        started = await start_sandbox(self._loop, setup)
        self._init_pid, pidfd = started.pid, os.pidfd_open(started.pid)
        self._loop.watch(pidfd, READ, lambda _events: self._on_sandbox_end(pidfd))
        if started.engine is not None:
            self._engine = Engine(self._loop, started.engine, started.place)
            if started.engine_is_wanted:
                self._loop.call_after(0.0, self._engine.start)  # when `place.env` is there
        return started.place

    async def _end_processes(self, init: int, grace_s: float) -> bool:
        pid = None
        if self._engine is not None:
            self._engine.close()
            pid = self._engine.pid
        return await end_processes(self._loop, init, grace_s, engine=pid)

    def _on_sandbox_end(self, pidfd: int) -> None:
        self._loop.unwatch(pidfd)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        self._server.place = None
        if not self._is_stopping:
            self._tell({"event": "sandbox_ended"})

    def _power_off(self) -> None:
        if self._channel is not None and not self._channel.is_flushed:
            self._channel = None  # once more, then without the host having read it
            self._loop.call_after(1.0, self._power_off)
            return
        self._end_machine()

    # -- events

    def _tell(self, body: Json) -> None:
        if self._channel is not None:
            self._channel.event(body)

    def _tell_sessions(self) -> None:
        now = (self._server.attached, self._server.detached)
        if now != self._told:
            self._told = now
            self._tell({"event": "sessions", "attached": now[0], "detached": now[1]})

    def _check_disk(self) -> None:
        """Tell when the data disk gets full. No event of the kernel says so: look now and then."""
        if self._is_stopping:
            return
        self._report_disk()
        self._loop.call_after(_DISK_CHECK_S, self._check_disk)

    def _report_disk(self) -> None:
        facts = os.statvfs(DATA)
        free, total = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
        low = min(_DISK_LOW_BYTES, total // 10)
        state = "full" if free < _DISK_FULL_BYTES else "low" if free < low else "ok"
        if state != self._disk_state:
            self._disk_state = state
            self._tell({"event": "disk", "state": state, "free_bytes": free, "total_bytes": total})


class Started:
    """A sandbox that is up: its pid 1, its place, and the socket of its engine if it has one."""

    __slots__ = ("engine", "engine_is_wanted", "pid", "place")

    def __init__(self, pid: int, place: Place, engine: int | None, text: bytes) -> None:
        self.pid = pid
        self.place = place
        self.engine = None if engine is None else socket.socket(fileno=engine)
        self.engine_is_wanted = text == b"ok engine"


async def start_sandbox(loop: Loop, setup: Setup) -> Started:
    """Fork the sandbox's pid 1 and return what it made.

    Raises:
        OSError: a step failed; the text says which.
    """
    from .syscalls import CLONE_NEWPID, setns, unshare

    ours, theirs = socket.socketpair()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    pid = -1
    try:
        unshare(CLONE_NEWPID)  # for the next child only: it is the namespace's pid 1
        pid = os.fork()
        if pid == 0:
            ours.close()
            become_init(setup, theirs)
        setns(own, CLONE_NEWPID)
        theirs.close()
        text, fds = await _report(loop, ours)
    finally:
        os.close(own)
        ours.close()
    if not text.startswith(b"ok") or not fds:
        for fd in fds:
            os.close(fd)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise OSError(
            0, text.removeprefix(b"no").decode(errors="replace") or "the sandbox's init died"
        )
    place = Place.of_process(os.pidfd_open(pid), fds[0], use_cgroups=setup.use_cgroups)
    return Started(pid, place, fds[1] if len(fds) > 1 else None, text)


async def _report(loop: Loop, sock: socket.socket) -> tuple[bytes, list[int]]:
    """What the sandbox's first process says, up to the moment in which it becomes its pid 1."""
    text, found = b"", list[int]()
    while len(text) < 8192:
        if not await loop.readable(sock.fileno(), _ASSEMBLE_TIMEOUT_S):
            return b"no the sandbox did not come up in time", found
        data, fds, _flags, _address = socket.recv_fds(sock, 8192, 2)
        for fd in fds:
            os.set_inheritable(fd, False)  # noqa: FBT003 - no keywords there
        found += fds
        if not data:
            return text, found
        text += data
    return text, found


def _explain(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text}: {error.filename}" if error.filename else text


def _link(fields: Fields) -> Link:
    return Link(
        mac=fields.text("mac", 17).lower(),
        address=fields.text("address", 15),
        prefix_length=fields.integer("prefix_length", 1, 31),
        gateway=fields.text_or_none("gateway", 15),
    )


def _has_share(tag: str) -> bool:
    folder = "/sys/fs/virtiofs"
    try:
        return any(read_text(f"{folder}/{name}/tag") == tag for name in os.listdir(folder))
    except FileNotFoundError:
        return False
