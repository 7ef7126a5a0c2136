# SPDX-License-Identifier: Apache-2.0
"""Heads of requests: what is read, and what is refused because two parsers could differ."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.proxy.http.head import (
    MAX_FIELDS,
    MAX_HEAD,
    BadRequestError,
    Form,
    RequestHead,
    head_end,
    parse_head,
)


def read(text: str | bytes) -> RequestHead:
    data = text if isinstance(text, bytes) else text.encode("latin-1")
    return parse_head(data)[0]


def test_a_usual_request() -> None:
    head = read("GET /a?b HTTP/1.1\r\nHost: Example.com:8080\r\nX-Y:  z \r\n\r\n")
    assert (head.method, head.form, head.target, head.path) == ("GET", Form.ORIGIN, "/a?b", "/a")
    assert (head.host, head.port) == ("example.com", 8080)
    assert head.fields[1] == (b"x-y", b"z")


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://example.com/x?y", "example.com:80", "/x?y"),
        ("HTTP://EXAMPLE.com:81", "example.com:81", "/"),
        ("http://example.com?q", "example.com:80", "/?q"),
        ("http://[2001:db8::1]:81/", "[2001:db8::1]:81", "/"),
    ],
)
def test_an_absolute_target(url: str, authority: str, target: str) -> None:
    head = read(f"GET {url} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
    assert (head.form, str(head.authority), head.target) == (Form.ABSOLUTE, authority, target)


def test_connect() -> None:
    head = read("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
    assert (head.form, str(head.authority)) == (Form.AUTHORITY, "example.com:443")


HOST = "Host: a.com\r\n"


@pytest.mark.parametrize(
    "head",
    [
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 1\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 2\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: 1, 1\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: +1\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: 0x1\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: 1_0\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length:\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: {'9' * 30}\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: identity\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        f"GET / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding : chunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding\t: chunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Transfer-Encoding:\x0bchunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}X: a\r\n b\r\n",
        f"GET / HTTP/1.1\r\n X: a\r\n{HOST}",
        f"GET / HTTP/1.1\r\n{HOST}X: a\nY: b\r\n",
        f"GET / HTTP/1.1\r\n{HOST}X: a\rY: b\r\n",
        f"GET / HTTP/1.1\n{HOST}",
        f"GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n",
        f"GET / HTTP/1.1\r\n{HOST}X\0: a\r\n",
        f"GET / HTTP/1.1\r\n{HOST}: a\r\n",
        f"GET / HTTP/1.1\r\n{HOST}no colon\r\n",
        f"GET / HTTP/1.1\r\n{HOST}{HOST}",
        f"GET / HTTP/1.1\r\n{HOST}Host: b.com\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nHost: a.com, b.com\r\n",
        "GET / HTTP/1.1\r\nHost: a.com/x\r\n",
        "GET / HTTP/1.1\r\nHost: u@a.com\r\n",
        "GET / HTTP/1.1\r\nHost: 0177.0.0.1\r\n",
        "GET / HTTP/1.1\r\nHost: 127.1\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Connection: close, host\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Connection: authorization\r\n",
        f"GET / HTTP/1.1\r\n{HOST}Connection: transfer-encoding\r\n",
        f"GET  / HTTP/1.1\r\n{HOST}",
        f"GET / HTTP/1.1 \r\n{HOST}",
        f" GET / HTTP/1.1\r\n{HOST}",
        f"\r\nGET / HTTP/1.1\r\n{HOST}",
        f"GET /\x7f HTTP/1.1\r\n{HOST}",
        f"GET /\xe9 HTTP/1.1\r\n{HOST}",
        f"GET / HTTP/2.0\r\n{HOST}",
        f"GET / http/1.1\r\n{HOST}",
        f"GET / HTTP/1.12\r\n{HOST}",
        "GET /\r\n",
        f"GET /{'a' * 9000} HTTP/1.1\r\n{HOST}",
        f"GET * HTTP/1.1\r\n{HOST}",
        f"OPTIONS * HTTP/1.1\r\n{HOST}",
        f"GET a.com HTTP/1.1\r\n{HOST}",
        f"GET https://a.com/ HTTP/1.1\r\n{HOST}",
        f"GET ftp://a.com/ HTTP/1.1\r\n{HOST}",
        f"GET http:/a.com HTTP/1.1\r\n{HOST}",
        f"GET http:///x HTTP/1.1\r\n{HOST}",
        f"GET http://b.com/ HTTP/1.1\r\n{HOST}",
        f"GET http://a.com:81/ HTTP/1.1\r\n{HOST}",
        f"GET http://u@a.com/ HTTP/1.1\r\n{HOST}",
        f"GET /#x HTTP/1.1\r\n{HOST}",
        f"GET http://a.com\\.b.com/ HTTP/1.1\r\n{HOST}",
        f"CONNECT a.com HTTP/1.1\r\n{HOST}",
        f"CONNECT a.com:0 HTTP/1.1\r\n{HOST}",
        f"CONNECT a.com:443/x HTTP/1.1\r\n{HOST}",
        f"CONNECT b.com:443 HTTP/1.1\r\n{HOST}",
        f"connect a.com:443 HTTP/1.1\r\n{HOST}",
        f"CONNECT a.com:443 HTTP/1.1\r\n{HOST}Content-Length: 3\r\n",
        f"CONNECT a.com:443 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n",
        f"GET / HTTP/1.1\r\n{HOST}" + "X: y\r\n" * MAX_FIELDS,
    ],
)
def test_what_is_refused(head: str) -> None:
    with pytest.raises(BadRequestError):
        read(head + "\r\n")


def test_the_end_of_a_head_is_found_or_waited_for() -> None:
    assert head_end(b"GET / HTTP/1.1\r\nHost: a\r\n") is None
    assert head_end(b"GET / HTTP/1.1\r\n\r\nbody") == 18
    for data in (b"a" * (MAX_HEAD + 1), b"a" * (MAX_HEAD + 1) + b"\r\n\r\n", b"GET / HTTP/1.1\n\n"):
        with pytest.raises(BadRequestError):
            head_end(data)


def test_only_websocket_is_an_upgrade() -> None:
    text = "GET / HTTP/1.1\r\nHost: a.com\r\nConnection: {}\r\nUpgrade: {}\r\n\r\n"
    assert read(text.format("keep-alive, Upgrade", "WebSocket")).upgrade == "websocket"
    assert read(text.format("upgrade, http2-settings", "h2c")).upgrade is None
    assert read(text.format("upgrade", "h2c, websocket")).upgrade is None
    assert read(text.format("close", "websocket")).upgrade is None


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        read(data + b"\r\n\r\n")


@given(st.binary(max_size=40).filter(lambda b: b"\r\n" not in b))
def test_what_passes_is_what_another_parser_reads(value: bytes) -> None:
    """A field that passes has one value, and it is the one that was written."""
    try:
        head = read(b"GET / HTTP/1.1\r\nHost: a.com\r\nX: " + value + b"\r\n\r\n")
    except BadRequestError:
        return
    assert head.fields == ((b"host", b"a.com"), (b"x", value.strip(b" \t")))


@given(st.binary(max_size=200))
def test_a_damaged_body_raises_nothing_but_protocol_errors(body: bytes) -> None:
    _, framing = parse_head(b"POST / HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        framing.receive_data(body)
        while isinstance(framing.next_event(), h11.Data):
            pass
    except h11.RemoteProtocolError:
        pass
