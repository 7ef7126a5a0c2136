# SPDX-License-Identifier: Apache-2.0
"""Values are put in, and placeholders that go elsewhere are found."""

from __future__ import annotations

import base64

from sbx.credential.binding import Binding, Due, due
from sbx.credential.inject import put_in, seen_in, strayed
from sbx.credential.places import Place, Style
from tests.unit.credential.factories import PLACEHOLDER, REAL, custom, grant, service


def test_a_header_is_replaced_and_never_appended() -> None:
    fields = [
        (b"host", b"a.test"),
        (b"x-api-key", b"proxy-managed"),
        (b"x-api-key", b"second"),
        (b"authorization", b"Bearer attacker"),
        (b"accept", b"*/*"),
    ]
    assert put_in(fields, [grant(service("a.test"))]) == [
        (b"host", b"a.test"),
        (b"accept", b"*/*"),
        (b"x-api-key", REAL.encode()),
    ]


def test_a_key_is_put_in_where_the_guest_sent_none() -> None:
    place = Place(hosts=("g.test",), style=Style.BASIC, username="x-access-token")
    binding = Binding(id="g", name="g", places=(place,))
    (field,) = put_in([], [grant(binding, "token")])
    assert field == (b"authorization", b"Basic " + base64.b64encode(b"x-access-token:token"))


def test_a_placeholder_is_replaced_in_headers_only() -> None:
    fields = [
        (b"host", PLACEHOLDER.encode()),
        (b"private-token", PLACEHOLDER.encode()),
        (b"x-other", b"a " + PLACEHOLDER.encode() + b" b"),
        (b"authorization", b"Basic " + base64.b64encode(b"me:" + PLACEHOLDER.encode())),
    ]
    assert put_in(fields, [grant(custom("a.test"))]) == [
        (b"host", PLACEHOLDER.encode()),
        (b"private-token", REAL.encode()),
        (b"x-other", b"a " + REAL.encode() + b" b"),
        (b"authorization", b"Basic " + base64.b64encode(b"me:" + REAL.encode())),
    ]


def test_a_placeholder_on_its_way_elsewhere_is_found() -> None:
    mine = custom("a.test")
    good: tuple[Due, ...] = due([mine], "a.test", 443, "GET", "/")
    held = [(b"x-key", PLACEHOLDER.encode())]
    basic = [(b"authorization", b"Basic " + base64.b64encode(b"u:" + PLACEHOLDER.encode()))]
    assert strayed([mine], good, "/", held) is None
    assert strayed([mine], good, "/", basic) is None
    assert strayed([mine], (), "/", held) is mine
    assert strayed([mine], (), "/", basic) is mine
    assert strayed([mine], good, f"/?k={PLACEHOLDER}", ()) is mine
    escaped = "".join(f"%{ord(c):02x}" for c in PLACEHOLDER)
    assert strayed([mine], good, f"/{escaped}", ()) is mine
    assert strayed([mine], good, "/", [(b"upgrade", PLACEHOLDER.encode())]) is mine
    assert seen_in([mine], b"..." + PLACEHOLDER.encode()) is mine
    assert seen_in([mine], b"...") is None


def test_the_fixed_word_is_no_canary() -> None:
    assert strayed([service("a.test")], (), "/proxy-managed", [(b"x", b"proxy-managed")]) is None
