# SPDX-License-Identifier: Apache-2.0
"""Who may open a session: only who holds the key, in time and a few at once."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from sbx.agent.handshake import authenticate
from sbx.errors import PermanentError, SbxError, TransientError
from sbx.guest.server import MAX_STRANGERS
from sbx.protocol.auth import ClientHandshake
from sbx.protocol.fields import encode_message
from sbx.protocol.frames import HEADER, FrameType, encode_frame
from tests.kit.guest import Guest, run_guest
from tests.kit.guest_server import KEY


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with run_guest("here", tmp_path_factory.mktemp("guest")) as found:
        yield found


def receive_frame(sock: socket.socket) -> bytes:
    header = sock.recv(HEADER.size, socket.MSG_WAITALL)
    return sock.recv(HEADER.unpack(header)[1], socket.MSG_WAITALL)


def is_ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_the_key_opens(guest: Guest) -> None:
    with guest.session() as session:
        assert session.stat("/") == "folder"


def test_another_key_does_not(guest: Guest) -> None:
    with guest.dial() as sock:
        sock.setblocking(False)
        with pytest.raises(TransientError):
            asyncio.run(authenticate(sock, b"x" * 32))


def test_an_old_proof_does_not(guest: Guest) -> None:
    with guest.dial() as first:
        proof = ClientHandshake(KEY, b"n" * 32).answer(receive_frame(first))
        first.sendall(proof)
        receive_frame(first)
    with guest.dial() as second:
        receive_frame(second)
        second.sendall(proof)
        assert is_ended(second)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode_frame(FrameType.OPEN, b'{"type":"stat","path":"/"}'),
        HEADER.pack(FrameType.AUTH, 0xFFFFFFFF),
        encode_message(FrameType.AUTH, {}),
        encode_frame(FrameType.AUTH, b"\xff" * 1000),
        b"\0" * 100_000,
    ],
)
def test_anything_else_ends_the_connection(guest: Guest, data: bytes) -> None:
    with guest.dial() as sock:
        receive_frame(sock)
        sock.sendall(data)
        assert is_ended(sock)
    test_the_key_opens(guest)


def test_strangers_are_few(guest: Guest) -> None:
    strangers = [guest.dial() for _ in range(MAX_STRANGERS)]
    for sock in strangers:
        receive_frame(sock)
    with guest.dial() as one_more:
        assert is_ended(one_more)
    for sock in strangers:
        sock.close()
    while not is_let_in(guest):  # until the server has seen that they left
        pass


def is_let_in(guest: Guest) -> bool:
    with guest.dial() as sock:
        return not is_ended(sock)


def answer_with(*frames: bytes) -> SbxError:
    """What the supervisor's side makes of a guest that says this."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.sendall(b"".join(frames))
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs, pytest.raises(SbxError) as caught:
        asyncio.run(authenticate(ours, KEY))
    return caught.value


HELLO = encode_message(FrameType.HELLO, {"generation": 1, "nonce": "A" * 43 + "="})


def test_a_guest_without_the_key_is_refused() -> None:
    error = answer_with(HELLO, encode_message(FrameType.WELCOME, {"proof": "A" * 43 + "="}))
    assert isinstance(error, PermanentError)
    assert "session key" in error.message


@pytest.mark.parametrize(
    "frames",
    [
        [os.urandom(0) + b"\xff" * 50],
        [HEADER.pack(FrameType.HELLO, 1 << 30)],
        [encode_message(FrameType.HELLO, {"nonce": 5})],
        [HELLO, encode_frame(FrameType.STDOUT, b"x")],
        [HELLO, encode_message(FrameType.WELCOME, {"proof": None})],
    ],
)
def test_a_guest_that_breaks_the_protocol_is_told_so(frames: list[bytes]) -> None:
    error = answer_with(*frames)
    assert isinstance(error, PermanentError)
    assert error.message == "guest agent broke the protocol"


def test_a_guest_that_leaves_is_transient() -> None:
    assert isinstance(answer_with(HELLO), TransientError)


def test_a_silent_guest_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs, pytest.raises(TransientError, match="in time"):
        asyncio.run(authenticate(ours, KEY, timeout_s=0.05))
