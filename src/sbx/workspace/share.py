# SPDX-License-Identifier: Apache-2.0
"""The file server of one sandbox: virtiofsd in a jail that holds nothing but the shared paths.

The guest of an earlier run could have put a symbolic link where a shared path was, so a start walks
each path without following links, and before the machine gets the connection it checks that the
jail really holds those objects. Knows nothing of QEMU: it hands over one vhost-user connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple, TypedDict

from sbx.errors import HostError, PermanentError, SbxError, TransientError, UserError
from sbx.sandbox.parts import RuntimeBundle
from sbx.sandbox.spec import Mount
from sbx.system.files import owned_fd
from sbx.system.jail import Bind, BindKind, Jail
from sbx.system.leftovers import jail_mark
from sbx.system.process import base_env, describe_status, spawn
from sbx.system.userns import explain_user_namespaces
from sbx.workspace.gate.gate import GateRules, gate_command, gate_config
from sbx.workspace.layout import AGENT_ID, Place, plan_places, translation
from sbx.workspace.limits import raise_file_limit
from sbx.workspace.serverlog import ServerLog, open_log
from sbx.workspace.setid import setid_filter

log = logging.getLogger(__name__)

_ROOT = Path("/run/share")  # in the jail
NO_GATE = GateRules()
_VIRTIOFSD = "/usr/libexec/virtiofsd"
_READY_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0
# vhost-user: request VHOST_USER_GET_FEATURES (1), version 1, no payload; the answer carries a u64.
_GET_FEATURES = struct.pack("<III", 1, 1, 0)
_FEATURES_BYTES = 12 + 8

_JailInfo = TypedDict("_JailInfo", {"child-pid": int})  # what bwrap writes, as far as we read it


class Share:
    """A running file server, as long as `open_share` lasts."""

    def __init__(self, child: asyncio.subprocess.Process, sock: socket.socket) -> None:
        self._child = child
        self._sock = sock

    @property
    def pid(self) -> int:
        """Of the jail; server and jail end together."""
        return self._child.pid

    def connect(self) -> socket.socket:
        """The one vhost-user connection, for the machine; the server ends when all of it is closed.

        The caller closes it once the machine has a copy of its own; closing it twice is fine.
        """
        return self._sock

    async def wait(self) -> int:
        """Wait for the server's end."""
        return await self._child.wait()


@contextlib.asynccontextmanager
async def open_share(
    runtime: RuntimeBundle,
    mounts: Sequence[Mount],
    *,
    log_path: Path,
    shields: Sequence[Mount] = (),
    gate: GateRules = NO_GATE,
) -> AsyncGenerator[Share]:
    """Serve `mounts` (at least one) from a jail that was checked to hold just what was asked for.

    `shields` cover places in them, and `gate` holds for names, see sbx.workspace.shields.

    Raises:
        UserError: a shared path is gone, or is another kind of thing now.
        HostError, TransientError, PermanentError: the server did not start.
    """
    places = plan_places(mounts, shields)
    async with contextlib.AsyncExitStack() as stack:
        server_log = await stack.enter_async_context(open_log(log_path))
        with contextlib.ExitStack() as opened:  # what is needed until the server stands
            wanted = {p.source: opened.enter_context(_original(p.source)) for p in places}
            for mount in (*mounts, *shields):
                _check_kind(mount, wanted[mount.source])
            listener, sock = _listening_pair(log_path.parent)
            stack.callback(sock.close)
            info, info_writer = os.pipe()
            opened.enter_context(owned_fd(info))
            with owned_fd(info_writer), listener, owned_fd(_setid_filter_file()) as seccomp:
                fds = _PassedFds(listener.fileno(), info_writer, seccomp, server_log.writer)
                child = await _start(runtime, places, fds, gate, log_path.parent)
            server_log.close_writer()
            stack.push_async_callback(_end, child)
            stack.callback(sock.close)  # before the wait above: the server ends by itself then
            await _await_ready(child, sock, server_log)
            answer: _JailInfo = json.loads(os.read(info, 4096))
            _verify(answer["child-pid"], places, wanted)
        yield Share(child, sock)


class _PassedFds(NamedTuple):
    """What the server inherits."""

    listener: int
    info: int
    seccomp: int
    log: int


async def _start(
    runtime: RuntimeBundle,
    places: Sequence[Place],
    fds: _PassedFds,
    gate: GateRules,
    folder: Path,
) -> asyncio.subprocess.Process:
    raise_file_limit()
    gate = replace(gate, fixed=gate.fixed | _fixed_places(places))
    jail = Jail(
        root=runtime.root,
        tmpfs=(Path("/tmp"), Path("/run"), _ROOT),  # noqa: S108 - inside the jail
        binds=tuple(
            Bind(
                source=place.source,
                target=_ROOT / place.where,
                kind=BindKind.READ_ONLY if place.read_only else BindKind.READ_WRITE,
            )
            for place in places
        ),
        sealed=(_ROOT,),
        user=AGENT_ID,
        seccomp_fd=fds.seccomp,
        info_fd=fds.info,
    )
    command = jail.command([_VIRTIOFSD, *_arguments(fds.listener)])
    passed = [fds.listener, fds.info, fds.seccomp]
    env = {**base_env(), **jail_mark(folder)}
    if not gate.is_needed:
        return await spawn(command, env=env, stdout=fds.log, stderr=fds.log, pass_fds=passed)
    with owned_fd(gate_config(gate, root=_ROOT)) as config:
        command = gate_command(config, command)
        passed.append(config)
        return await spawn(command, env=env, stdout=fds.log, stderr=fds.log, pass_fds=passed)


def _fixed_places(places: Sequence[Place]) -> frozenset[bytes]:
    """Read-only files within a mount: their names stay so when the host replaces the file."""
    return frozenset(
        os.fsencode(place.where)
        for place in places
        if place.read_only and len(place.where.parts) > 1 and place.source.is_file()
    )


def _setid_filter_file() -> int:
    machine = os.uname().machine
    try:
        program = setid_filter(machine)
    except KeyError as error:
        raise HostError(f"machine type is not supported: `{machine}`") from error
    fd = os.memfd_create("setid-filter")
    os.write(fd, program)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _arguments(listener: int) -> list[str]:
    return [
        f"--fd={listener}",
        f"--shared-dir={_ROOT}",
        "--sandbox=none",  # the jail is the sandbox
        "--seccomp=kill",
        "--announce-submounts",
        "--inode-file-handles=never",
        "--cache=auto",
        "--thread-pool-size=0",  # 2 and 4 threads were measured: not faster, and less even
        "--log-level=warn",
        *translation(),
    ]


async def _await_ready(
    child: asyncio.subprocess.Process, sock: socket.socket, server_log: ServerLog
) -> None:
    """Ask for the features, as the machine will: an answer proves a live server."""
    loop = asyncio.get_running_loop()
    answer = b""
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            await loop.sock_sendall(sock, _GET_FEATURES)
            while len(answer) < _FEATURES_BYTES:
                part = await loop.sock_recv(sock, _FEATURES_BYTES - len(answer))
                if not part:
                    break
                answer += part
    except TimeoutError as error:
        raise TransientError(
            "file server does not answer", details=await server_log.last_words()
        ) from error
    except ConnectionError:
        answer = b""
    if len(answer) < _FEATURES_BYTES:
        async with asyncio.timeout(_END_TIMEOUT_S):
            status = describe_status(await child.wait())
        raise explain_end(status, await server_log.last_words())


def explain_end(status: str, words: str | None) -> SbxError:
    """The error for a server that ended before it answered."""
    if words is not None and words.startswith("bwrap:"):  # no jail: the kernel's switches say why
        verdict = explain_user_namespaces()
        return HostError(verdict.message, hint=verdict.hint, details=words)
    return PermanentError(f"file server failed with {status}", details=words)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Give the server a moment to end by itself (its connection is closed), then kill it."""
    try:
        async with asyncio.timeout(_END_TIMEOUT_S):
            await child.wait()
    except TimeoutError:
        log.warning("file server %s did not end, killing it", child.pid)
        child.kill()
        await child.wait()


def _listening_pair(folder: Path) -> tuple[socket.socket, socket.socket]:
    """A listening socket and a connection in its queue; its name in `folder` is gone again."""
    name = "share.sock"
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with owned_fd(fd), contextlib.ExitStack() as undo:
        short = f"/proc/self/fd/{fd}/{name}"  # however long `folder` is: unix(7) takes 107 bytes
        with contextlib.suppress(FileNotFoundError):  # of a start that was killed right here
            os.unlink(name, dir_fd=fd)
        listener = undo.enter_context(socket.socket(socket.AF_UNIX))
        sock = undo.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(short)
        try:
            listener.listen(1)
            sock.connect(short)
        finally:
            os.unlink(name, dir_fd=fd)
        sock.setblocking(False)  # noqa: FBT003 - its own signature
        undo.pop_all()
    return listener, sock


@contextlib.contextmanager
def _original(source: Path) -> Generator[int]:
    """An O_PATH descriptor of a shared path, found without following any link."""
    try:
        fd = _walk(Path("/"), source.relative_to("/"))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise UserError(
                f"workspace is gone: `{source}`", hint="Put it back, or remove the sandbox"
            ) from error
        raise UserError(f"cannot open `{source}`: {error.strerror}") from error
    with owned_fd(fd):
        yield fd


def _check_kind(mount: Mount, fd: int) -> None:
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) if mount.is_file else stat.S_ISDIR(mode)):
        kind = "file" if mount.is_file else "folder"
        raise UserError(
            f"no longer a {kind}: `{mount.source}`", hint="Put it back, or remove the sandbox"
        )


def _walk(base: Path, path: PurePath) -> int:
    """Open `path` below `base` component by component; a symbolic link on the way is ENOTDIR.

    As the last component a link is opened itself (O_PATH | O_NOFOLLOW), so its kind tells.
    """
    fd = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for i, part in enumerate(path.parts):
        with owned_fd(fd):
            last = i == len(path.parts) - 1
            kind = 0 if last else os.O_DIRECTORY
            fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=fd)
    return fd


def _verify(jail_pid: int, places: Sequence[Place], wanted: dict[Path, int]) -> None:
    """Compare what the jail holds with what was opened before: nothing was swapped since."""
    root = Path(f"/proc/{jail_pid}/root") / _ROOT.relative_to("/")
    for place in places:
        try:
            with owned_fd(_walk(root, place.where)) as fd:
                held = os.fstat(fd)
                sealed = bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
        except OSError as error:
            raise PermanentError(
                f"cannot check the share of `{place.source}`: {error.strerror}"
            ) from error
        same = os.path.samestat(held, os.fstat(wanted[place.source]))
        if not same or (place.read_only and not sealed):
            raise PermanentError(f"share does not hold `{place.source}` as it was checked")
