# SPDX-License-Identifier: Apache-2.0
"""What a proxy answers: read to its end and no further, however it comes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sbx.policy.routes import parse_proxy
from sbx.proxy.tunnels import TunnelError, open_tunnel
from tests.unit.policy.factories import to

HTTP, SOCKS = "http://me:secret@proxy.test:1", "socks5h://proxy.test:1"
GRANTED = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"


def tunnel(proxy: str, *answers: bytes) -> tuple[bytes, bytes]:
    """What the proxy was sent, and what stands in the connection after its answer."""

    async def main() -> tuple[bytes, bytes]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for end in (ours, theirs):
                end.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(open_tunnel(ours, parse_proxy(proxy), to("far.test:22")))
                for answer in answers:
                    await loop.sock_sendall(theirs, answer)
                    for _ in range(5):  # turns in which the other side reads
                        await asyncio.sleep(0)
                theirs.shutdown(socket.SHUT_WR)
            return theirs.recv(65536), ours.recv(65536)

    try:
        return asyncio.run(main())
    except* TunnelError as group:
        raise group.exceptions[0] from None


def test_a_request_of_connect() -> None:
    said, left = tunnel(HTTP, GRANTED)
    assert said == (
        b"CONNECT far.test:22 HTTP/1.1\r\nHost: far.test:22\r\n"
        b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    )
    assert left == b""


def test_what_the_server_says_is_left_to_be_read() -> None:
    assert tunnel(HTTP, GRANTED + b"SSH-2.0\r\n\r\n")[1] == b"SSH-2.0\r\n\r\n"
    assert tunnel(SOCKS, b"\5\0", b"\5\0\0\1" + bytes(6) + b"SSH-2.0")[1] == b"SSH-2.0"


def test_an_answer_byte_by_byte() -> None:
    split = [bytes([each]) for each in GRANTED]
    assert tunnel(HTTP, *split, b"x")[1] == b"x"
    assert tunnel(SOCKS, *[bytes([each]) for each in b"\5\0\5\0\0\3\2ab\0\0"], b"x")[1] == b"x"


@pytest.mark.parametrize(
    ("proxy", "answer", "words"),
    [
        (HTTP, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Auth"),
        (HTTP, b"HTTP/1.1 403 \x1b[31mno\r\n\r\n", r"403 \\x1b\[31mno"),
        (HTTP, b"SSH-2.0\r\n\r\n", "does not speak HTTP"),
        (HTTP, b"HTTP/1.1 200", "ends the connection"),
        (HTTP, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 12000, "has no end"),
        (SOCKS, b"\5", "ends the connection"),
        (SOCKS, b"\5\0\5\2\0\1", "not allowed by its rules"),
    ],
)
def test_refusals_are_told(proxy: str, answer: bytes, words: str) -> None:
    with pytest.raises(TunnelError, match=words) as raised:
        tunnel(proxy, answer)
    assert "secret" not in str(raised.value)
