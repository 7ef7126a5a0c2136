# SPDX-License-Identifier: Apache-2.0
"""`sbx port` and `sbx ports` while nothing runs; with machines: tests/vm/test_ports.py."""

from __future__ import annotations

from typing import cast

import pytest

from sbx.sandbox.port_spec import parse_publication
from sbx.store import records
from sbx.store.paths import Paths
from tests.unit.cli.conftest import Call, MakeSandbox

LISTS = [("port", "ls"), ("ports",)]


@pytest.fixture(name="box")
def _box(where: Paths, make_sandbox: MakeSandbox) -> str:
    make_sandbox("box")
    published = tuple(map(parse_publication, ("8080:3000", "53/udp", "[::1]:9:9")))
    records.update_record(where, "box", published=published)
    return "box"


@pytest.mark.parametrize("verb", LISTS)
def test_nothing_published(sbx: Call, make_sandbox: MakeSandbox, verb: tuple[str, ...]) -> None:
    make_sandbox("box")
    assert sbx(*verb, "box").out == "No published ports\n"
    assert sbx(*verb, "box", "--json").json() == []


@pytest.mark.parametrize("verb", LISTS)
def test_a_stopped_sandbox_shows_what_it_will_publish(
    sbx: Call, box: str, verb: tuple[str, ...]
) -> None:
    assert [line.split() for line in sbx(*verb, box).out.splitlines()] == [
        ["HOST", "IP", "HOST", "PORT", "SANDBOX", "PORT", "PROTOCOL"],
        ["127.0.0.1", "8080", "3000", "tcp4"],
        ["127.0.0.1", "-", "53", "udp4"],
        ["::1", "-", "53", "udp6"],
        ["::1", "9", "9", "tcp6"],
    ]
    first = {"host_ip": "127.0.0.1", "host_port": 8080, "sandbox_port": 3000, "protocol": "tcp4"}
    rows = cast("list[object]", sbx(*verb, box, "--json").json())
    assert rows[0] == first
    assert len(rows) == 4


def test_unpublishing_starts_nothing(sbx: Call, box: str, where: Paths) -> None:
    done = sbx("port", "unpublish", box, "53/udp", "3000")
    assert done.out.splitlines() == [
        "Unpublished 127.0.0.1:8080 -> 3000/tcp4",
        "Unpublished 127.0.0.1:0 -> 53/udp4",
        "Unpublished [::1]:0 -> 53/udp6",
    ]
    assert [str(one) for one in records.read_record(where, box).published] == ["[::1]:9:9/tcp6"]


def test_what_is_left_of_a_port_is_told(sbx: Call, box: str, where: Paths) -> None:
    published = tuple(map(parse_publication, ("8080:3000", "3000/udp4")))
    records.update_record(where, box, published=published)
    done = sbx("ports", box, "--unpublish", "3000", "--json")
    assert done.json() == [
        {
            "action": "unpublished",
            "host_ip": "127.0.0.1",
            "host_port": 8080,
            "sandbox_port": 3000,
            "protocol": "tcp4",
        }
    ]
    assert "still published: 127.0.0.1:0 -> 3000/udp4" in done.err


def test_what_fits_nothing_changes_nothing(sbx: Call, box: str, where: Paths) -> None:
    before = records.read_record(where, box)
    done = sbx("port", "unpublish", box, "3000", "7")
    assert done.status == 1
    assert "nothing is published for 7" in done.err
    assert records.read_record(where, box) == before


@pytest.mark.parametrize("verb", [("port", "publish"), ("port", "unpublish")])
def test_bad_input_is_told_before_anything_starts(
    sbx: Call, box: str, verb: tuple[str, ...]
) -> None:
    done = sbx(*verb, box, "80/sctp")
    assert (done.status, done.out) == (1, "")
    assert "invalid port: `80/sctp`: unknown protocol sctp" in done.err
    assert "sandbox not found" in sbx(*verb, "other", "80").err
