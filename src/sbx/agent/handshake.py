# SPDX-License-Identifier: Apache-2.0
"""The opening of a session connection, by the supervisor, before the socket is handed on."""

from __future__ import annotations

import asyncio
import secrets
import socket

from sbx.agent.broken import broken
from sbx.errors import PermanentError, TransientError
from sbx.protocol.auth import NONCE_BYTES, ClientHandshake
from sbx.protocol.frames import HEADER, HELLO_IN, FrameDecoder, FrameType, ProtocolError

_TIMEOUT_S = 10.0


async def authenticate(sock: socket.socket, key: bytes, *, timeout_s: float = _TIMEOUT_S) -> None:
    """Prove our key on a connected, non-blocking socket and check that the guest holds it too.

    Afterwards nothing is buffered on either side: the socket can be passed to another process.

    Raises:
        TransientError: the guest does not answer, or ends the connection.
        PermanentError: it does not hold the key, or breaks the protocol.
    """
    handshake = ClientHandshake(key, secrets.token_bytes(NONCE_BYTES))
    try:
        async with asyncio.timeout(timeout_s):
            hello = await _receive(sock, FrameType.HELLO)
            await asyncio.get_running_loop().sock_sendall(sock, handshake.answer(hello))
            welcome = await _receive(sock, FrameType.WELCOME)
        if not handshake.is_genuine(welcome):
            raise PermanentError("guest agent does not hold this sandbox's session key")
    except ProtocolError as error:
        raise broken(error) from error
    except TimeoutError as error:
        raise TransientError("guest agent did not answer in time", hint="Try again") from error
    except OSError as error:
        raise TransientError("guest agent ended the connection", details=str(error)) from error


async def _receive(sock: socket.socket, wanted: FrameType) -> bytes:
    """Exactly one frame: not a byte more is taken from the socket."""
    decoder = FrameDecoder({wanted: HELLO_IN[wanted]})
    loop = asyncio.get_running_loop()
    header = await _receive_exactly(loop, sock, HEADER.size)
    decoder.feed(header)
    found = decoder.next()
    if found is None:
        decoder.feed(await _receive_exactly(loop, sock, HEADER.unpack(header)[1]))
        found = decoder.next()
    assert found is not None
    return found[1]


async def _receive_exactly(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int
) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = await loop.sock_recv(sock, size - len(data))
        if not part:
            raise ConnectionResetError("end of stream")
        data += part
    return bytes(data)
