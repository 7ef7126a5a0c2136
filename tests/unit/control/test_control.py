# SPDX-License-Identifier: Apache-2.0
"""Both ends of the control socket, against each other and against garbage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from sbx.control.client import MAX_LINE_BYTES, SESSION, ControlClient, connect
from sbx.control.messages import GENERATION, Reply, Request, Verb
from sbx.control.server import Connection, serve_control
from sbx.errors import ConflictError, OutcomeUnknownError, PermanentError, TransientError
from sbx.sandbox.state import State
from sbx.sandbox.status import Live
from sbx.system import codec

T = TypeVar("T")
LIVE = Live(
    state=State.RUNNING,
    pid=1,
    uptime_s=2.5,
    sessions=0,
    accel=None,
    machine_pid=None,
    share_pid=None,
    helper_pid=None,
)


async def handle(connection: Connection, request: Request) -> None:
    """A supervisor with one trick per verb."""
    match request.verb:
        case Verb.STATUS:
            await connection.reply(Reply(live=LIVE))
        case Verb.SESSION:
            reader, writer = os.pipe()
            os.write(writer, b"through the pipe")
            os.close(writer)
            await connection.reply(Reply(), fds=(reader,))
            os.close(reader)
            await connection.closed()
        case Verb.KEEP:
            raise ConflictError("no", hint="do that", details="evidence")
        case Verb.READY | Verb.POLICY | Verb.PORTS | Verb.GROW:
            await asyncio.Event().wait()  # never answers
        case Verb.SYNC:
            await connection.reply(Reply())
        case Verb.STOP:
            connection.sock.close()  # dies without an answer


def against(path: Path, client: Callable[[Path], T]) -> T:
    """Run a synchronous client against a server."""

    async def scenario() -> T:
        async with serve_control(path, handle):
            return await asyncio.to_thread(client, path)

    return asyncio.run(scenario())


def ask(verb: Verb, timeout_s: float = 5.0) -> Callable[[Path], Reply]:
    def client(path: Path) -> Reply:
        with connect(path) as control:
            return control.ask(Request(verb=verb), timeout_s=timeout_s)

    return client


def test_an_answer_comes_back_typed(tmp_path: Path) -> None:
    assert against(tmp_path / "s", ask(Verb.STATUS)) == Reply(live=LIVE)


def test_a_descriptor_comes_with_the_answer(tmp_path: Path) -> None:
    def client(path: Path) -> bytes:
        with connect(path) as control:
            control.ask(Request(verb=Verb.SESSION), timeout_s=5)
            fd = control.take_fd()
            with os.fdopen(fd, "rb") as file:
                return file.read()

    assert against(tmp_path / "s", client) == b"through the pipe"


def test_an_error_keeps_its_class_and_words(tmp_path: Path) -> None:
    with pytest.raises(ConflictError) as caught:
        against(tmp_path / "s", ask(Verb.KEEP))
    error = caught.value
    assert (error.message, error.hint, error.details) == ("no", "do that", "evidence")


def test_silence_is_an_unknown_outcome(tmp_path: Path) -> None:
    with pytest.raises(OutcomeUnknownError, match="did not answer"):
        against(tmp_path / "s", ask(Verb.READY, timeout_s=0.1))


def test_a_death_is_an_unknown_outcome(tmp_path: Path) -> None:
    with pytest.raises(OutcomeUnknownError, match="went away"):
        against(tmp_path / "s", ask(Verb.STOP))


def test_nobody_there_is_transient(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="no supervisor listens"), connect(tmp_path / "s"):
        pass


def test_the_socket_is_private_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "s"))

    def client(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert against(tmp_path / "s", client) == 0o600


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"{}\n", b'{"verb": "dance"}\n', b'{"verb": "status", "x": 1}\n', b"\xff\n", b"[]\n"],
)
def test_garbage_gets_a_problem_and_the_server_lives(tmp_path: Path, garbage: bytes) -> None:
    def client(path: Path) -> Reply:
        with connect(path) as control:
            control.sock.sendall(garbage)
            with pytest.raises(PermanentError, match="request not understood"):
                control.receive(timeout_s=5)
        return ask(Verb.STATUS)(path)

    assert against(tmp_path / "s", client).live == LIVE


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    def client(path: Path) -> Reply:
        with connect(path) as control:
            with contextlib.suppress(OSError):  # the server may hang up in the middle
                control.sock.sendall(b"x" * (MAX_LINE_BYTES + 65536))
            with pytest.raises((PermanentError, OutcomeUnknownError)):
                control.receive(timeout_s=5)
        return ask(Verb.STATUS)(path)

    assert against(tmp_path / "s", client).live == LIVE


def test_a_client_that_says_nothing_does_not_disturb_others(tmp_path: Path) -> None:
    def client(path: Path) -> Reply:
        with connect(path):
            return ask(Verb.STATUS)(path)

    assert against(tmp_path / "s", client).live == LIVE


def test_an_answer_that_is_too_long_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0)
        ours.settimeout(5)
        client = ControlClient(ours)
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.send(b"x" * 65536)
        with pytest.raises((PermanentError, OutcomeUnknownError)):
            client.receive(timeout_s=0.2)


def test_the_short_way_to_a_session_says_the_same_as_the_long_one() -> None:
    said = json.loads(SESSION)
    assert codec.from_json(Request, said) == Request(verb=Verb.SESSION)
    assert said["generation"] == GENERATION
