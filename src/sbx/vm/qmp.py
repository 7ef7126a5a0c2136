# SPDX-License-Identifier: Apache-2.0
"""The one QMP client: QEMU's monitor with a typed method per command.

The protocol itself is the `qemu.qmp` library's. Replies are checked where they arrive; what QEMU
says is trusted no further than that, because a guest may have broken into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError, Runstate

from sbx.errors import OutcomeUnknownError, PermanentError, TransientError

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 2.0


class Refused(PermanentError):
    """QEMU answered a command with an error."""


class RunState(StrEnum):
    """The states of QEMU that make a difference here (`query-status`)."""

    RUNNING = "running"
    PAUSED = "paused"
    IO_ERROR = "io-error"
    SHUTDOWN = "shutdown"
    PANICKED = "guest-panicked"
    OTHER = "other"


class EventKind(StrEnum):
    """The events that are listened for; a guest cannot make QEMU fill our memory with others."""

    SHUTDOWN = "SHUTDOWN"
    PANICKED = "GUEST_PANICKED"
    DISK_ERROR = "BLOCK_IO_ERROR"
    STOPPED = "STOP"
    RESUMED = "RESUME"
    MIGRATION = "MIGRATION"  # the state of a machine was written or read


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEvent:
    """One event of the machine."""

    kind: EventKind
    reason: str | None = None  # of a SHUTDOWN: QEMU's ShutdownCause
    no_space: bool = False  # of a DISK_ERROR: the host's disk is full
    status: str | None = None  # of a MIGRATION: QEMU's MigrationStatus


class Qmp:
    """A connected monitor."""

    def __init__(self, client: QMPClient, on_event: Callable[[MachineEvent], None]) -> None:
        self._client = client
        # Events are handled where the library's own listener would queue them, for ever, unread.
        client.events.names = set(EventKind)
        client.events.event_filter = lambda message: _deliver(message, on_event)

    async def query_status(self) -> RunState:
        """What the machine does now."""
        status = _member(await self._execute("query-status"), "status")
        try:
            return RunState(str(status))
        except ValueError:
            return RunState.OTHER

    async def pass_file(self, fd: int) -> int:
        """Give QEMU a copy of `fd`; returns the number of the set: `/dev/fdset/<number>`."""
        self._client.send_fd_scm(fd)
        number = _member(await self._execute("add-fd"), "fdset-id")
        if not isinstance(number, int):
            raise PermanentError("QEMU's answer to `add-fd` makes no sense")
        return number

    async def drop_file(self, set_id: int) -> None:
        """Take a passed file back; an open one is closed when its user is gone."""
        await self._execute("remove-fd", {"fdset-id": set_id})

    async def pass_socket(self, name: str, fd: int) -> None:
        """Give QEMU a copy of a connected socket, to be used once under `name`."""
        self._client.send_fd_scm(fd)
        await self._execute("getfd", {"fdname": name})

    async def add_raw_disk(self, node: str, set_id: int, *, read_only: bool) -> None:
        """Open a passed file as a raw image: the format is never guessed from the guest's bytes."""
        await self._execute("blockdev-add", {
            "driver": "raw",
            "node-name": node,
            "read-only": read_only,
            "discard": "unmap",
            "file": {"driver": "file", "filename": f"/dev/fdset/{set_id}", "discard": "unmap"},
        })  # fmt: skip

    async def remove_disk(self, node: str) -> None:
        """Close an image that no device uses."""
        await self._execute("blockdev-del", {"node-name": node})

    async def plug_block_device(self, *, device: str, node: str, bus: str, serial: str) -> None:
        """Plug a virtio disk. A full host disk stops the machine; the guest sees no error."""
        await self._execute("device_add", {
            "driver": "virtio-blk-pci-non-transitional",
            "id": device,
            "bus": bus,
            "drive": node,
            "serial": serial,
            "werror": "enospc",
        })  # fmt: skip

    async def resize_disk(self, node: str, size_bytes: int) -> None:
        """Make an open image, its file included, so large; the guest is told."""
        await self._execute("block_resize", {"node-name": node, "size": size_bytes})

    async def add_socket_backend(self, backend: str, passed: str) -> None:
        """Make a character device of a passed socket."""
        address = {"type": "fd", "data": {"str": passed}}
        settings = {"addr": address, "server": False}
        await self._execute(
            "chardev-add", {"id": backend, "backend": {"type": "socket", "data": settings}}
        )

    async def remove_socket_backend(self, backend: str) -> None:
        """Close a character device that no device uses."""
        await self._execute("chardev-remove", {"id": backend})

    async def plug_share(self, *, device: str, backend: str, bus: str, tag: str) -> None:
        """Plug a virtio-fs device whose server is at the other end of `backend`."""
        await self._execute("device_add", {
            "driver": "vhost-user-fs-pci",
            "id": device,
            "bus": bus,
            "chardev": backend,
            "tag": tag,
            "queue-size": 1024,
        })  # fmt: skip

    async def power_down(self) -> None:
        """Press the power button (ACPI)."""
        await self._execute("system_powerdown")

    async def resume(self) -> None:
        """Let a stopped machine run on."""
        await self._execute("cont")

    async def pause(self) -> None:
        """Let the machine stand still."""
        await self._execute("stop")

    async def begin_migration(self) -> None:
        """Memory in files stays in the files; progress is told by events."""
        wanted = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
        await self._execute("migrate-set-capabilities", {"capabilities": wanted})

    async def save_state(self, set_id: int) -> None:
        """Begin to write the state of a paused machine into a passed file."""
        await self._execute("migrate", {"uri": f"file:/dev/fdset/{set_id}"})

    async def load_state(self, set_id: int) -> None:
        """Begin to read the state from a passed file; QEMU ends if it does not fit."""
        await self._execute("migrate-incoming", {"uri": f"file:/dev/fdset/{set_id}"})

    async def request_memory(self, device: str, size_bytes: int) -> None:
        """Offer the guest so much memory from a virtio-mem device; it takes it by and by."""
        await self._execute("qom-set", {
            "path": f"/machine/peripheral/{device}",
            "property": "requested-size",
            "value": size_bytes,
        })  # fmt: skip

    async def quit(self) -> None:
        """End QEMU; disks are flushed, the guest is not asked."""
        await self._execute("quit")

    async def drained(self) -> None:
        """After QEMU's end: return when all that it sent has been read, in bounded time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                while self._client.runstate is Runstate.RUNNING:
                    await self._client.runstate_changed()

    async def close(self) -> None:
        """Disconnect; whatever was wrong with the connection does not matter any more."""
        with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._client.disconnect()

    async def _execute(self, command: str, arguments: dict[str, object] | None = None) -> object:
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await self._client.execute(command, arguments)
        except ExecuteError as error:
            raise Refused(f"QEMU refused `{command}`: {error}") from error
        except TimeoutError as error:
            raise OutcomeUnknownError(
                f"QEMU did not answer `{command}` within {COMMAND_TIMEOUT_S:.0f} s"
            ) from error
        except (QMPError, OSError, EOFError) as error:
            raise TransientError(f"connection to QEMU was lost during `{command}`") from error


@asynccontextmanager
async def open_qmp(
    sock: socket.socket, on_event: Callable[[MachineEvent], None], *, timeout_s: float
) -> AsyncGenerator[Qmp]:
    """Connect to QEMU over the non-blocking `sock`, which belongs to the connection from then on.

    Raises:
        TransientError: QEMU hung up, said no greeting within `timeout_s`, or something else.
    """
    client = QMPClient("machine")
    qmp = Qmp(client, on_event)  # before the connection, so that no event is missed
    # The library tells of every lost connection as an error, also of the end of a machine.
    client.logger.setLevel(logging.CRITICAL)
    try:
        await _connect(client, sock, timeout_s)
        yield qmp
    finally:
        await qmp.close()
        sock.close()


async def _connect(client: QMPClient, sock: socket.socket, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(sock)
    except TimeoutError as error:
        raise TransientError(f"QEMU did not answer within {timeout_s:.0f} s") from error
    except (QMPError, OSError, EOFError, AssertionError) as error:
        # The library asserts that the connection stands when it has been made: a QEMU that ends at
        # that moment proves it wrong.
        raise TransientError("QEMU ended before it was ready") from error


def _deliver(message: Message, on_event: Callable[[MachineEvent], None]) -> bool:
    """Hand an event over; the answer says that it is not to be queued."""
    data = message.get("data")
    facts = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    reason, status = facts.get("reason"), facts.get("status")
    event = MachineEvent(
        kind=EventKind(str(message["event"])),
        reason=reason if isinstance(reason, str) else None,
        no_space=facts.get("nospace") is True,
        status=status if isinstance(status, str) else None,
    )
    log.debug("machine event: %s", event)
    on_event(event)
    return False


def _member(reply: object, name: str) -> object:
    if isinstance(reply, dict):
        return cast("dict[str, object]", reply).get(name)
    return None
