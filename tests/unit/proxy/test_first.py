# SPDX-License-Identifier: Apache-2.0
"""First bytes: whatever a server could take for HTTP or TLS is not passed on unread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.proxy.first import MAX_LINE, FirstBytes, classify
from tests.unit.proxy.hellos import real_hello


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"get / http/1.1\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n",
        b"  \tPOST /",
        b"PRI * HTTP/2.0\r\n",
        b"CONNECT a:1",
        b"BREW x\xffy HTTP/1.1\n",
        b"GET /\0 x\r\n",
        b"GET\t/",
        b"a" * (MAX_LINE + 1),
    ],
)
def test_http(data: bytes) -> None:
    assert classify(data) is FirstBytes.HTTP


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH\r\n", b"\0\0\0\x08\x04\xd2", b"0033git-upload-pack\0", b"PING\r\n", b"\xff"],
)
def test_other_protocols(data: bytes) -> None:
    assert classify(data) is FirstBytes.OPAQUE


def test_tls() -> None:
    assert classify(real_hello("a.com")) is FirstBytes.TLS
    assert classify(b"\x16") is FirstBytes.TLS


@pytest.mark.parametrize("data", [b"", b"G", b"GET", b"\r\n", b"XYZ /path"])
def test_a_beginning_wants_more(data: bytes) -> None:
    assert classify(data) is None


@given(st.binary(max_size=60))
def test_a_request_is_always_seen(before: bytes) -> None:
    line = before.replace(b"\n", b"").replace(b"\x16", b"")
    found = classify(line.strip(b"\r") + b" HTTP/1.1\r\n")
    assert found is FirstBytes.HTTP
