# SPDX-License-Identifier: Apache-2.0
"""What is sent on of a request and of its answer."""

from __future__ import annotations

import h11

from sbx.proxy.http.forward import own_answer, reason_phrase, response_fields, upstream_request
from sbx.proxy.http.head import parse_head
from tests.unit.policy.factories import to


def sent(request: str, where: str = "a.com:80") -> bytes:
    head, _ = parse_head(request.encode())
    data = h11.Connection(h11.CLIENT).send(upstream_request(head, to(where)))
    assert data is not None
    return data


def test_fields_about_one_connection_end_here() -> None:
    data = sent(
        "GET http://a.com/x HTTP/1.1\r\nHost: A.com\r\nProxy-Authorization: Basic eA==\r\n"
        "Proxy-Connection: keep-alive\r\nConnection: keep-alive, TE\r\nTE: trailers\r\n"
        "Keep-Alive: 5\r\nUpgrade: h2c\r\nCookie: c\r\n\r\n"
    )
    assert data == (b"GET /x HTTP/1.1\r\nHost: a.com\r\ncookie: c\r\nConnection: close\r\n\r\n")


def test_the_host_is_the_one_that_was_decided() -> None:
    data = sent("GET / HTTP/1.1\r\nHost: EXAMPLE.com.:8080\r\n\r\n", "example.com:8080")
    assert data.startswith(b"GET / HTTP/1.1\r\nHost: example.com:8080\r\n")


def test_a_websocket_may_be_asked_for() -> None:
    data = sent(
        "GET / HTTP/1.1\r\nHost: a.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert data.endswith(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_an_answer_loses_what_is_about_one_connection() -> None:
    head, _ = parse_head(b"GET / HTTP/1.1\r\nHost: a.com\r\n\r\n")
    response = h11.Response(
        status_code=200,
        headers=[("Connection", "close, X-One, content-length"), ("X-One", "1"), ("X-Two", "2")],
    )
    assert response_fields(response, head) == [(b"x-two", b"2")]


def test_an_answer_of_ours_is_whole() -> None:
    answer = own_answer(403, "no\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"Content-Length: 3" in head
    assert b"Connection: close" in head
    assert body == b"no\n"
    assert own_answer(200) == b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_a_reason_is_one_line_of_printable_ascii() -> None:
    text = "Blocked: x.test:443\n  detail: ä\r\nAllow it with:\n  sbx policy\n"
    assert reason_phrase(text) == "Blocked: x.test:443; detail: ; Allow it with: sbx policy"
    assert len(reason_phrase("x" * 9999)) < 600
    head = own_answer(403, "text\n", reason=reason_phrase(text)).partition(b"\r\n")[0]
    assert head.startswith(b"HTTP/1.1 403 Blocked: x.test:443; ")
