# SPDX-License-Identifier: Apache-2.0
"""The supervisor's end of the talk with the network helper: start it, ask it, end it.

What is said is in the docstring of `helper.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from sbx.errors import HostError, SbxError, TransientError
from sbx.network.ruleset import Link
from sbx.sandbox import addresses
from sbx.system.fds import close_all, recv_fds_async, socket_pair
from sbx.system.process import describe_status, spawn
from sbx.system.userns import explain_tun, explain_user_namespaces

log = logging.getLogger(__name__)

_HELPER = Path(__file__).with_name("helper.py")
_ANSWER_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0
_STDERR_BYTES = 4096


class Talk:
    """A running helper and our socket to it."""

    def __init__(self, helper: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._helper = helper
        self._control = control
        self._asking = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The helper's process, which is in the namespaces."""
        return self._helper.pid

    async def wait(self) -> int:
        """Wait for the helper's end."""
        return await self._helper.wait()

    async def ask(self, request: bytes, answer: bytes) -> list[int]:
        """Say something and await the descriptors that come with the answer; the caller's.

        Raises:
            HostError: the host forbids what was asked for.
            TransientError: the helper died.
        """
        asking = asyncio.create_task(self._ask(request, answer), name="network helper")
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:  # the answer comes all the same, and is nobody's
            asking.add_done_callback(_close_answer)
            raise

    async def _ask(self, request: bytes, answer: bytes) -> list[int]:
        async with self._asking:
            with contextlib.suppress(
                BrokenPipeError, ConnectionResetError
            ):  # the answer tells more
                await asyncio.get_running_loop().sock_sendall(self._control, request)
            return await self.expect(answer)

    async def expect(self, word: bytes) -> list[int]:
        """Await a word that comes unasked (returns and raises as `ask`)."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                data, fds = await recv_fds_async(self._control, max_bytes=512)
        except TimeoutError as error:
            raise TransientError("network helper does not answer") from error
        except OSError as error:
            raise TransientError(f"network helper is gone: {error.strerror}") from error
        if data == word:
            return fds
        close_all(fds)
        if data.startswith(b"error "):
            raise helper_error(data[6:].decode(errors="replace"))
        raise TransientError(f"network helper is gone: {await self._last_words()}")

    async def close(self) -> None:
        """End it; bounded."""
        self._control.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await self._helper.wait()
        except TimeoutError:
            log.warning("network helper %s did not end, killing it", self._helper.pid)
            self._helper.kill()
            await self._helper.wait()

    async def _last_words(self) -> str:
        self._control.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                status = describe_status(await self._helper.wait())
                stderr = (
                    b""
                    if self._helper.stderr is None
                    else await self._helper.stderr.read(_STDERR_BYTES)
                )
        except TimeoutError:
            return "it closed its socket"
        lines = stderr.decode(errors="replace").strip().splitlines()
        return f"{status}, {lines[-1]}" if lines else status


def _close_answer(asking: asyncio.Task[list[int]]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        close_all(asking.result())


async def start_helper(links: Sequence[Link]) -> Talk:
    """Start the helper; its first word is yet to come."""
    ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
    listeners = [listener for link in links for listener in describe_listeners(link)]
    with contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        with theirs:
            helper = await spawn(
                [
                    sys.executable, "-I", "-S", _HELPER,
                    str(theirs.fileno()), *map(describe, links), "--", *listeners,
                ],
                env={"LANG": "C.UTF-8"},
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        ours.setblocking(False)  # noqa: FBT003 - its own signature
        undo.pop_all()
    return Talk(helper, ours)


def describe(link: Link) -> str:
    """A link as the helper's command line takes it."""
    return ",".join(
        (
            link.device,
            link.gateway,
            str(addresses.PREFIX_LENGTH),
            link.gateway_mac,
            link.guest,
            link.guest_mac,
        )
    )


def describe_listeners(link: Link) -> list[str]:
    """The sockets of a link's ways out, as the helper's command line takes them."""
    return [f"{one.protocol},{link.gateway},{one.port}" for one in link.listeners]


def helper_error(text: str) -> SbxError:
    """The sentence for `STEP|ERRNO|TEXT` from the helper."""
    step, number, reason = (*text.split("|", 2), "", "")[:3]
    if step in ("unshare", "user-map"):
        verdict = explain_user_namespaces()
        return HostError(verdict.message, hint=verdict.hint, details=f"{step}: {reason}")
    if step == "tun-open" and number.isdigit():
        verdict = explain_tun(int(number))
        return HostError(verdict.message, hint=verdict.hint)
    hint = (
        "In a container: start it with --privileged, or use the host"
        if step == "ip-forward"
        else None
    )
    return HostError(f"cannot prepare the sandbox's network: {step}: {reason or text}", hint=hint)
