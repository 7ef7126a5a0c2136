# SPDX-License-Identifier: Apache-2.0
"""Which request gets which credential."""

from __future__ import annotations

from sbx.credential.binding import due
from tests.unit.credential.factories import custom, service


def test_the_first_that_fits_has_the_header() -> None:
    first, second = service("a.test", name="one"), service("**.test", name="two")
    other = service("a.test", header="authorization", form="Bearer %s", name="three")
    mine = custom("a.test")
    found = due([first, second, other, mine], "a.test", 443, "GET", "/")
    assert [d.binding.name for d in found] == ["one", "three", "MY_KEY"]
    assert [d.binding.name for d in due([first, second], "b.test", 443, "GET", "/")] == ["two"]


def test_nothing_is_due_elsewhere() -> None:
    bindings = [service("a.test"), custom("a.test")]
    assert due(bindings, "a.test", 80, "GET", "/") == ()
    assert due(bindings, "b.test", 443, "GET", "/") == ()
    assert not bindings[0].is_canary
    assert bindings[1].is_canary
