# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client of nothing but Python: `websocket.py URL MESSAGE...` prints the replies.

It runs on the host and, handed over standard input, in a guest. RFC 6455, short text messages.
"""

import base64
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit


def connect(url: str) -> socket.socket:
    """A connection that the server has upgraded; ends the program if it does not."""
    where = urlsplit(url)
    is_tls = where.scheme in ("wss", "https")
    host = where.hostname or ""
    sock = socket.create_connection((host, where.port or (443 if is_tls else 80)), 30)
    if is_tls:
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {where.path or '/'} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # one by one: a frame may follow at once
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    if b" 101 " not in head.split(b"\r\n")[0]:
        sys.exit(f"no upgrade: {head!r}")
    return sock


def send(sock: socket.socket, text: str) -> None:
    """One text message, masked as a client must."""
    data, mask = text.encode(), os.urandom(4)
    assert len(data) < 126, "short messages only"
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
    sock.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)


def receive(sock: socket.socket) -> str:
    """The next message."""
    first, length = exactly(sock, 2)
    assert first == 0x81, f"no whole text message: {first:#x}"
    return exactly(sock, length).decode()


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            sys.exit("the connection ended")
        data += more
    return data


def main(argv: list[str]) -> None:
    with connect(argv[1]) as sock:
        for text in argv[2:]:
            send(sock, text)
            sys.stdout.write(receive(sock) + "\n")


if __name__ == "__main__":
    main(sys.argv)
