# SPDX-License-Identifier: Apache-2.0
"""TLS hellos, made by hand and by the standard library."""

from __future__ import annotations

import ssl


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, data)


def server_names(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, n) for n in names)))


def message(extensions: bytes, *, ciphers: bytes = b"\x13\x01", session: bytes = b"") -> bytes:
    body = b"\x03\x03" + b"r" * 32 + vector(1, session) + vector(2, ciphers) + b"\x01\0"
    return b"\x01" + vector(3, body + vector(2, extensions))


def record(data: bytes, *, kind: int = 22) -> bytes:
    return bytes([kind, 3, 1]) + vector(2, data)


def hello(*names: bytes, extra: bytes = b"") -> bytes:
    return record(message((server_names(*names) if names else b"") + extra))


def real_hello(name: str | None, protocols: list[str] | None = None) -> bytes:
    """What OpenSSL sends."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("a handshake without a server")
