# SPDX-License-Identifier: Apache-2.0
"""Asks a PAC file (automatic proxy configuration) which proxy a connection takes.

The file is a program of somebody else's, so it runs in a process of its own that sees the system
read-only, nothing of the user's home, and is ended when it takes too long. It has a network: it may
look names up, as its functions say. Without an answer there is no connection: never straight.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sbx.errors import HostError, UserError
from sbx.policy.hosts import Endpoint
from sbx.policy.pac import PacFile, answers, question
from sbx.policy.routes import ProxyServer, parse_proxy
from sbx.system.jail import Bind, Jail
from sbx.system.process import OWN_SOURCE, spawn

log = logging.getLogger(__name__)

_MAX_BYTES = 1 << 20  # of a file, as browsers bound it
_MAX_LINE = 4 * _MAX_BYTES
_FETCH_S = 10.0
_ANSWER_S = 10.0  # a look-up of a name that does not exist takes its time
_START_S = 20.0
_FRESH_S = 900.0  # then it is fetched again
_RETRY_S = 10.0  # after a failure
_KEPT_ANSWERS = 1024
_PROGRAM = "sbx.proxy.pac_program"


class PacError(Exception):
    """There is no answer; the text says why."""


@dataclass(slots=True)
class _Runner:
    """The process that has a file loaded."""

    process: asyncio.subprocess.Process
    text: str

    async def say(self, line: str, timeout_s: float) -> dict[str, str | None]:
        reader, writer = self.process.stdout, self.process.stdin
        assert reader is not None
        assert writer is not None
        try:
            async with asyncio.timeout(timeout_s):
                writer.write(line.encode() + b"\n")
                await writer.drain()
                answer = await reader.readline()
        except TimeoutError as error:
            raise PacError(f"it gave no answer within {timeout_s:.0f} s") from error
        except (OSError, ValueError) as error:
            raise PacError("it was ended while it ran") from error
        if not answer:
            raise PacError("it was ended while it ran")
        return cast("dict[str, str | None]", json.loads(answer))

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class PacResolver:
    """The ways of connections, from one PAC file at a time; `close` it at the end."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()  # one question at a time: the file's functions share a state
        self._runner: _Runner | None = None
        self._loaded_at = -_FRESH_S
        self._answers: dict[tuple[str, str], tuple[str | None, ...]] = {}
        self._failure: tuple[float, PacError] | None = None

    async def ways(self, pac: PacFile, to: Endpoint) -> Sequence[ProxyServer | None]:
        """The proxies to try, in order; None is a connection without one.

        Raises:
            PacError: the file cannot be had, or gives no answer.
        """
        asked = question(to)
        async with self._lock:
            try:
                await self._load(pac)
                if asked not in self._answers:
                    if len(self._answers) >= _KEPT_ANSWERS:
                        self._answers.clear()
                    self._answers[asked] = await self._ask(asked)
            except PacError as error:
                raise PacError(f"the proxy configuration {pac}: {error}") from error
        return [None if text is None else _proxy(pac, text) for text in self._answers[asked]]

    async def close(self) -> None:
        """End the process."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.end()

    async def _ask(self, asked: tuple[str, str]) -> tuple[str | None, ...]:
        assert self._runner is not None
        try:
            found = await self._runner.say(json.dumps(asked), _ANSWER_S)
        except PacError:
            await self.close()
            self._loaded_at = -_FRESH_S
            raise
        if found.get("error"):
            raise PacError(str(found["error"]))
        try:
            return answers(found.get("answer"))
        except ValueError as error:
            raise PacError(str(error)) from error

    async def _load(self, pac: PacFile) -> None:
        """See to it that a process with a fresh file is there; an old one does if need be."""
        now = time.monotonic()
        if self._runner is not None and now - self._loaded_at < _FRESH_S:
            return
        if self._failure is not None and now - self._failure[0] < _RETRY_S:
            if self._runner is not None:
                return
            raise self._failure[1]
        try:
            text = await asyncio.to_thread(_fetch, pac)
            if self._runner is None or self._runner.text != text:
                await self._start(text)
        except PacError as error:
            self._failure = (now, error)
            if self._runner is None:
                raise
            log.warning("%s: %s; the old one goes on", pac, error)
        else:
            self._failure, self._loaded_at = None, now
            self._answers.clear()  # they may depend on the time of day

    async def _start(self, text: str) -> None:
        await self.close()
        program = ["env", f"PYTHONPATH={OWN_SOURCE}", sys.executable, "-P", "-m", _PROGRAM]
        try:
            process = await spawn(
                jailed(program),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit_bytes=_MAX_LINE,
            )
        except HostError as error:
            raise PacError(error.message) from error
        runner = _Runner(process, text)
        try:
            said = await runner.say(json.dumps(text), _START_S)
            if said.get("error"):
                raise PacError(str(said["error"]))
        except BaseException:
            await runner.end()
            raise
        self._runner = runner


def jailed(program: Sequence[str]) -> list[str]:
    """The argument list that runs a program of this system: read-only, and without the homes."""
    needed = {OWN_SOURCE, Path(sys.prefix), Path(sys.base_prefix)}
    hidden = {Path.home(), Path("/home"), Path("/root"), Path("/tmp"), Path("/run/user")}  # noqa: S108 - hidden
    return Jail(
        root=Path("/"),
        tmpfs=tuple(sorted(path for path in hidden if path.is_dir())),
        binds=tuple(Bind(source=path, target=path) for path in sorted(needed)),
        shares_network=True,
    ).command(program)


def _proxy(pac: PacFile, text: str) -> ProxyServer:
    try:
        return parse_proxy(text, may_have_password=False)
    except UserError as error:
        raise PacError(f"the proxy configuration {pac}: {error.message}") from error


def _fetch(pac: PacFile) -> str:
    """The text of a file. It is fetched without a proxy: it is what says which."""
    import urllib.error  # noqa: PLC0415 - few have such a file
    import urllib.request  # noqa: PLC0415 - the same

    try:
        if pac.path is not None:
            with Path(pac.path).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        else:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}),
                urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            )
            with opener.open(pac.location, timeout=_FETCH_S) as answer:
                data = cast("bytes", answer.read(_MAX_BYTES + 1))
    except urllib.error.HTTPError as error:
        raise PacError(f"the server answered {error.code}") from error
    except OSError as error:
        raise PacError(f"it cannot be read: {_why(error)}") from error
    if len(data) > _MAX_BYTES:
        raise PacError(f"it is larger than {_MAX_BYTES >> 20} MiB")
    return data.decode("utf-8-sig", errors="replace")


def _why(error: OSError) -> str:
    reason: object = getattr(error, "reason", None) or error.strerror or error
    return str(reason)
