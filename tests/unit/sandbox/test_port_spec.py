# SPDX-License-Identifier: Apache-2.0
"""`[[HOST_IP:]HOST_PORT:]SANDBOX_PORT[/PROTOCOL]`: what is read, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import UserError
from sbx.sandbox.port_spec import parse_publication, parse_selector


@pytest.mark.parametrize(
    ("text", "places", "host_port"),
    [
        ("3000", [("127.0.0.1", "tcp4")], None),
        ("8080:3000", [("127.0.0.1", "tcp4")], 8080),
        (":3000", [("127.0.0.1", "tcp4")], None),
        ("3000/tcp", [("127.0.0.1", "tcp4"), ("::1", "tcp6")], None),
        ("3000/udp", [("127.0.0.1", "udp4"), ("::1", "udp6")], None),
        ("3000/udp4", [("127.0.0.1", "udp4")], None),
        ("8080:3000/tcp6", [("::1", "tcp6")], 8080),
        ("0.0.0.0:8080:3000", [("0.0.0.0", "tcp4")], 8080),
        ("0.0.0.0::3000/udp", [("0.0.0.0", "udp4")], None),
        ("[::1]:8080:3000", [("::1", "tcp6")], 8080),
        ("[0:0::1]:8080:3000/tcp", [("::1", "tcp6")], 8080),
        ("[::]::65535/udp6", [("::", "udp6")], None),
    ],
)
def test_what_is_read(text: str, places: list[tuple[str, str]], host_port: int | None) -> None:
    found = parse_publication(text)
    assert [(ip, protocol.value) for ip, protocol in found.places()] == places
    assert found.host_port == host_port
    assert parse_publication(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "/tcp", "http", "0", "65536", "0:80", "65536:80", "80:0", "-80", "80/sctp", "80/TCP",
        "80/tcp/udp", "::1:80:80", "[::1]:80", "1.2.3:80:80", "1.2.3.256:80:80", "[fe80::1%lo]:1:2",
        "[1.2.3.4]:80:80/tcp6", "1.2.3.4:80:80/tcp6", "[::1]:80:80/udp4", "localhost:80:80",
        "80-90:80", "80:80:80:80", " 80", "80\n", "٨٠",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="invalid port") as error:
        parse_publication(text)
    assert error.value.hint is not None


@given(st.text(alphabet="0123456789.:[]/abtcpud-", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_publication(text)
    except UserError:
        return
    assert parse_publication(str(found)) == found


@pytest.mark.parametrize(
    ("published", "selector", "fits"),
    [
        ("8080:3000", "3000", True),
        ("8080:3000", "8080:3000", True),
        ("8080:3000", "8081:3000", False),
        ("8080:3000", "8080", False),
        ("3000/tcp", "3000", True),
        ("3000/tcp", "3000/tcp", True),
        ("3000/tcp", "3000/tcp4", False),
        ("3000/tcp6", "3000", False),
        ("[::1]:1:3000", "[::1]:1:3000", True),
        ("[::1]:1:3000", "3000", False),
        ("0.0.0.0:1:3000", "3000", True),
        ("0.0.0.0:1:3000", "127.0.0.1:1:3000", False),
        ("1:3000", "127.0.0.1:1:3000", True),
        ("3000/udp", "3000", False),
        ("3000/udp", "3000/udp", True),
    ],
)
def test_what_unpublish_means(published: str, selector: str, fits: bool) -> None:
    assert parse_selector(selector).fits(parse_publication(published)) is fits
