# SPDX-License-Identifier: Apache-2.0
"""The control channel's messages: requests of the supervisor, answers and events of the agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sbx.protocol.fields import Body, Fields, b64, encode_message, parse
from sbx.protocol.frames import GENERATION, FrameType

MAX_ID = (1 << 53) - 1
_MAX_BYTES = 1 << 62
_MAX_COUNT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSetup:
    """One network link of the machine."""

    mac: str  # lower case, with colons
    address: str  # IPv4
    prefix_length: int
    gateway: str | None = None

    def body(self) -> Body:
        return {
            "mac": self.mac,
            "address": self.address,
            "prefix_length": self.prefix_length,
            "gateway": self.gateway,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who are you; may be asked at any time."""

    generation: int = GENERATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """Give up what can be read again: the machine is about to be frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """This machine is now the machine of one sandbox. May be sent again."""

    hostname: str
    machine_id: str  # 32 lower-case hex digits
    time_ns: int  # since the epoch
    entropy: bytes  # random, at most 512 bytes
    session_key: bytes  # 32 bytes
    port: int  # tcp, on the management link
    management: LinkSetup
    sandbox: LinkSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSetup:
    """Entry `index` of the share appears at `target` in the sandbox."""

    index: int
    target: str  # absolute
    read_only: bool = False
    is_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """Put the sandbox together. Disks and share may still be on their way."""

    layers: tuple[str, ...]  # serials, lowest first
    data: str  # serial
    data_is_new: bool  # the host has just made it: it may be formatted whatever is on it
    share: str | None  # virtio-fs tag
    mounts: tuple[MountSetup, ...]
    user: str  # of commands that name none
    workdir: str  # of commands that name none; made if missing
    env: dict[str, str]  # of every command
    memory_growth_bytes: int = 0  # what the machine gets beyond the memory it booted with
    memory_awaited_bytes: int = 0  # the part of it that must be there before anything runs
    trust: str | None = None  # PEM of an authority that programs inside shall trust


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTime:
    """Set the clock."""

    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowDisk:
    """The data disk has become larger: let its file system fill it."""

    size_bytes: int  # of the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class AskStats:
    """What does the machine use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """End everything in order and switch the machine off."""

    grace_s: int


Request = Hello | Trim | Identity | Assembly | GrowDisk | SetTime | AskStats | Shutdown


def encode_request(number: int, request: Request) -> bytes:
    """The frame of a request; `number` comes back in its answer."""
    kind, body = _request_body(request)
    return encode_message(FrameType.REQUEST, {"id": number, "type": kind, **body})


def _request_body(request: Request) -> tuple[str, Body]:
    match request:
        case Hello():
            return "hello", {"generation": request.generation}
        case Identity():
            return "configure", {
                "hostname": request.hostname,
                "machine_id": request.machine_id,
                "time_ns": request.time_ns,
                "entropy": b64(request.entropy),
                "session_key": b64(request.session_key),
                "port": request.port,
                "management": request.management.body(),
                "sandbox": request.sandbox.body(),
            }
        case Assembly():
            return "assemble", {
                "layers": list(request.layers),
                "data": request.data,
                "data_is_new": request.data_is_new,
                "share": request.share,
                "mounts": [_mount_body(item) for item in request.mounts],
                "user": request.user,
                "workdir": request.workdir,
                "env": dict(request.env),
                "memory_growth_bytes": request.memory_growth_bytes,
                "memory_awaited_bytes": request.memory_awaited_bytes,
                "trust": request.trust,
            }
        case Trim():
            return "trim", {}
        case GrowDisk():
            return "grow_disk", {"size_bytes": request.size_bytes}
        case SetTime():
            return "set_time", {"time_ns": request.time_ns}
        case AskStats():
            return "stats", {}
        case Shutdown():
            return "shutdown", {"grace_s": request.grace_s}


def _mount_body(mount: MountSetup) -> Body:
    return {
        "index": mount.index,
        "target": mount.target,
        "read_only": mount.read_only,
        "is_file": mount.is_file,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that was not carried out."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to request `number`: its result, or why not."""

    number: int
    result: Fields | Refusal


def parse_answer(payload: bytes) -> Answer:
    """The payload of an ANSWER frame.

    Raises:
        ProtocolError: it does not fit.
    """
    fields = parse(payload)
    number = fields.integer("id", 0, MAX_ID)
    if fields.flag("ok"):
        return Answer(number=number, result=fields.fields("result"))
    error = fields.fields("error")
    refusal = Refusal(code=error.text("code", 64), message=error.text("message", 4096))
    return Answer(number=number, result=refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReady:
    """Who the agent is."""

    generation: int
    kernel: str
    configured: bool  # it has had its `configure` already


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What the machine uses now; the disk is unknown before the sandbox is assembled."""

    attached: int  # sessions with a client
    detached: int  # commands that go on without one
    memory_bytes: int
    memory_used_bytes: int
    load_1min: float
    disk_size_bytes: int | None
    disk_used_bytes: int | None


def parse_ready(result: Fields) -> AgentReady:
    """The result of `hello`."""
    return AgentReady(
        generation=result.integer("generation", 1, 1 << 30),
        kernel=result.text("kernel", 256),
        configured=result.flag("configured"),
    )


def parse_stats(result: Fields) -> Stats:
    """The result of `stats`."""
    memory = result.integer("memory_bytes", 0, _MAX_BYTES)
    size = result.integer_or_none("disk_bytes", 0, _MAX_BYTES)
    free = result.integer_or_none("disk_free_bytes", 0, _MAX_BYTES)
    return Stats(
        attached=result.integer("attached", 0, _MAX_COUNT),
        detached=result.integer("detached", 0, _MAX_COUNT),
        memory_bytes=memory,
        memory_used_bytes=memory - result.integer("memory_available_bytes", 0, memory),
        load_1min=result.number("load_1min", 0, 1e9),
        disk_size_bytes=size,
        disk_used_bytes=None if size is None or free is None else max(0, size - free),
    )


class DiskState(StrEnum):
    """How full the data disk is."""

    OK = "ok"
    LOW = "low"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsEvent:
    """The number of sessions changed."""

    attached: int
    detached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskEvent:
    """The data disk went below or above a mark."""

    state: DiskState
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """A line for the log. Written by the guest: escape it before it is printed."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxEndedEvent:
    """The sandbox's pid 1 ended although nobody asked for it."""


AgentEvent = SessionsEvent | DiskEvent | LogEvent | SandboxEndedEvent


def parse_event(payload: bytes) -> AgentEvent | None:
    """The payload of an EVENT frame; None for one that a later generation added.

    Raises:
        ProtocolError: it does not fit.
    """
    fields = parse(payload)
    match fields.text("event", 64):
        case "sessions":
            return SessionsEvent(
                attached=fields.integer("attached", 0, _MAX_COUNT),
                detached=fields.integer("detached", 0, _MAX_COUNT),
            )
        case "disk":
            known = {state.value: state for state in DiskState}
            return DiskEvent(
                state=known.get(fields.text("state", 16), DiskState.FULL),
                free_bytes=fields.integer("free_bytes", 0, _MAX_BYTES),
                total_bytes=fields.integer("total_bytes", 0, _MAX_BYTES),
            )
        case "log":
            return LogEvent(text=fields.text("text", 8192))
        case "sandbox_ended":
            return SandboxEndedEvent()
        case _:
            return None
