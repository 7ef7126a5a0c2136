# SPDX-License-Identifier: Apache-2.0
"""Branch and clone mode while a sandbox runs: sets its repository up and brings its commits over.

A hook inside opens a file when a branch moves, which only wakes us. Everything that counts is asked
for over git's protocol and checked on the host (sbx.workspace.git). Nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sbx.agent.session import ExecRequest, Session, Streams
from sbx.errors import PermanentError, SbxError
from sbx.sandbox.git import GitMode, GitState, GitWorkspace
from sbx.sandbox.spec import SandboxSpec
from sbx.store import paths as names
from sbx.store import records
from sbx.supervisor.guest_command import OpenSession, must
from sbx.supervisor.plan import Plan
from sbx.system.files import owned_fd
from sbx.system.inotify import on_open
from sbx.system.text import printable
from sbx.workspace.git import quarantine, seed
from sbx.workspace.git.door import Git
from sbx.workspace.git.settle import settle

log = logging.getLogger(__name__)

T = TypeVar("T")

_SETTLE_S = 0.2  # a rebase moves a branch many times
_PAUSE_S = 1.0  # between two rounds, whatever the guest does
_FINISH_TIMEOUT_S = 30.0
_QUICK_S = 1.0  # looking for changed files in a large tree would be felt at each commit
_ROOT = "0"
CLONE_TIMEOUT_S = 1800.0


async def set_up(spec: SandboxSpec, open_session: OpenSession) -> None:
    """Make the sandbox's own repository, if this is its first start.

    Raises:
        SbxError: its template has no git, or its disk is full.
    """
    work = spec.git
    if work is None:
        return
    if work.url is not None:
        await _clone(spec, work.url, work.worktree, open_session)
        return
    inside = str(seed.git_dir_inside(work))
    top = [str(work.worktree)] if work.mode is GitMode.CLONE else []
    argv = ["sh", seed.script("setup"), inside, spec.user, *top]
    await must(open_session, argv, user=_ROOT)
    if top:
        await must(open_session, ["sh", seed.script("checkout"), inside, *top], user=spec.user)


async def _clone(spec: SandboxSpec, url: str, top: Path, open_session: OpenSession) -> None:
    """Let the sandbox clone by its own way out, if it has not yet."""
    argv = ["sh", seed.script("clone"), url, str(top)]
    try:
        await must(open_session, argv, user=spec.user, timeout_s=CLONE_TIMEOUT_S)
    except PermanentError as error:
        raise PermanentError(
            f"cannot clone `{url}` in the sandbox",
            hint=f"See what was blocked: sbx policy log {spec.name}; then: "
            f"sbx run --name {spec.name}",
            details=error.details,
        ) from error


@contextlib.asynccontextmanager
async def bring_over(plan: Plan, open_session: OpenSession) -> AsyncGenerator[GuestGit | None]:
    """Bring commits over while the block lasts; None without a repository."""
    if plan.spec.git is None:
        yield None
        return
    link = GuestGit(plan, plan.spec.git, open_session)
    with on_open(seed.wake_file(plan.folder / names.GIT_SEED), link.wake):
        try:
            await link.begin()
            yield link
        finally:
            await link.close()


class GuestGit:
    """One sandbox's repository, seen from its supervisor."""

    def __init__(self, plan: Plan, work: GitWorkspace, open_session: OpenSession) -> None:
        self._plan = plan
        self._work = work
        self._open_session = open_session
        self._git = Git(git_dir=plan.folder / names.GIT_REPOSITORY)
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._earliest = 0.0
        self._full_took_s = 0.0
        self._is_full_wanted = False
        self._is_closed = False
        self._sessions = 0  # open ones
        self._is_used = True  # since the last full round; a start may find files of a killed one

    async def begin(self) -> None:
        """Note what a clone of a URL starts from, before anybody works in it."""
        if self._work.url is None or quarantine.start_of(self._git, self._work) is not None:
            return
        try:
            await self._bring(full=False)
        except SbxError as error:  # it is tried again with the next round
            log.warning("the clone's start is not known: %s", printable(str(error)))

    def wake(self) -> None:
        """A branch may have moved; files that changed are counted too, where that is quick."""
        self._is_used = True
        self._schedule(full=self._full_took_s < _QUICK_S)

    def session_began(self) -> None:
        """From now on files may change."""
        self._sessions += 1
        self._is_used = True

    def session_ended(self) -> None:
        """Files may have changed."""
        self._sessions -= 1
        self._is_used = True
        self._schedule(full=True)

    async def sync(self) -> None:
        """Bring everything over now.

        Raises:
            SbxError: the guest does not answer, or what it sends is not accepted.
        """
        self._is_used = True
        await self._bring(full=True)

    async def finish(self) -> None:
        """Before the machine goes down: what is not on the host yet, within a bound."""
        self._stop_rounds()
        try:
            async with asyncio.timeout(_FINISH_TIMEOUT_S):
                async with self._one_at_a_time:
                    pass  # one may be under way, and fail
                if self._is_used:
                    await self._bring(full=True)
        except (SbxError, TimeoutError) as error:
            log.warning("not brought over before the stop: %s", printable(str(error)))

    async def close(self) -> None:
        """No more rounds."""
        self._stop_rounds()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _stop_rounds(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, *, full: bool) -> None:
        self._is_full_wanted |= full
        if self._timer is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            at = max(loop.time() + _SETTLE_S, self._earliest)
            self._timer = loop.call_at(at, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._running is not None and not self._running.done():
            self._earliest = asyncio.get_running_loop().time() + _PAUSE_S
            self._schedule(full=False)
            return
        full, self._is_full_wanted = self._is_full_wanted, False
        self._running = asyncio.create_task(self._round(full=full), name="bring-over")

    async def _round(self, *, full: bool) -> None:
        try:
            await self._bring(full=full)
        except SbxError as error:
            log.warning(
                "not brought over: %s\n%s", printable(error.message), printable(error.details or "")
            )
        finally:
            self._earliest = asyncio.get_running_loop().time() + _PAUSE_S

    async def _bring(self, *, full: bool) -> None:
        async with self._one_at_a_time:
            last = records.read_record(self._plan.where, self._plan.spec.name).git
            uncommitted = last.uncommitted if last is not None else 0
            failed: SbxError | None = None
            if full:
                self._is_used = self._sessions > 0
                began = time.monotonic()
                try:
                    uncommitted = await self._save_uncommitted()
                except SbxError as error:  # its commits are there all the same
                    failed = error
                self._full_took_s = time.monotonic() - began
            try:
                state = await self._take(last, uncommitted)
            except SbxError as error:
                self._is_used = True
                self._note(_with_problem(last, f"not brought over: {error.message}"))
                raise
            if failed is not None:
                state = _with_problem(state, f"uncommitted changes unknown: {failed.message}")
                log.warning("%s\n%s", failed.message, failed.details or "")
            self._note(state)

    async def _save_uncommitted(self) -> int:
        """Let the guest make a commit of what has none; how many files it says that is.

        Raises:
            SbxError: git inside could not.
        """
        inside, top = seed.git_dir_inside(self._work), self._work.worktree
        argv = ["sh", seed.script("wip"), str(inside), str(top)]
        words = await must(self._open_session, argv, user=self._plan.spec.user)
        number = words.strip().rpartition("\n")[2].strip()
        return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0

    async def _take(self, last: GitState | None, uncommitted: int) -> GitState:
        git = self._git
        refs = await self._converse(lambda fds: quarantine.list_guest(git, fds=fds))
        work = self._work
        is_first = await asyncio.to_thread(quarantine.start_of, git, work) is None
        if is_first:
            await asyncio.to_thread(quarantine.begin, git, work, refs)
        if not await asyncio.to_thread(quarantine.is_known, git, refs):
            await self._converse(lambda fds: quarantine.take(git, refs, fds=fds, is_first=is_first))
        if is_first and refs.head is not None:
            await asyncio.to_thread(git.run, "update-ref", quarantine.START, refs.head)
        name = self._plan.spec.name
        return await asyncio.to_thread(
            settle, git, self._work, sandbox=name, last=last, uncommitted=uncommitted
        )

    async def _converse(self, talk: Callable[[tuple[int, int]], T]) -> T:
        """Let `talk` use the guest's git as a server, over two pipes."""
        argv = ["git", "upload-pack", "--strict", str(seed.git_dir_inside(self._work))]
        request = ExecRequest(argv=tuple(argv), user=self._plan.spec.user)
        with await self._open_session() as sock:
            from_guest, to_host = os.pipe()
            from_host, to_guest = os.pipe()
            serving = asyncio.create_task(
                asyncio.to_thread(_serve, sock, request, from_host, to_host), name="git-server"
            )
            try:
                return await asyncio.to_thread(_talk, talk, (from_guest, to_guest))
            finally:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                await asyncio.gather(serving, return_exceptions=True)

    def _note(self, state: GitState) -> None:
        records.update_record(self._plan.where, self._plan.spec.name, git=state)


def _with_problem(last: GitState | None, problem: str) -> GitState:
    if last is None:
        last = GitState(at=datetime.now(UTC), head=None, ahead=0, uncommitted=0)
    return replace(last, problem=problem)


def _talk(talk: Callable[[tuple[int, int]], T], fds: tuple[int, int]) -> T:
    with owned_fd(fds[0]), owned_fd(fds[1]):
        return talk(fds)


def _serve(sock: socket.socket, request: ExecRequest, stdin: int, stdout: int) -> None:
    """The guest's side of a conversation, until it or the socket ends."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    with owned_fd(stdin), owned_fd(stdout), owned_fd(null):
        Session(sock).exec(request, Streams(stdin=stdin, stdout=stdout, stderr=null))
