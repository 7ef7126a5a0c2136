# SPDX-License-Identifier: Apache-2.0
"""The guest's side against the golden frames."""

from __future__ import annotations

import json

import pytest

from sbx.guest import wire
from sbx.guest.handshake import Handshake
from sbx.guest.launch import Command
from sbx.guest.place import Place
from sbx.guest.plan import Assembly
from sbx.guest.trees import entry_name
from tests.kit.golden import Golden, load_goldens

GOLDENS = load_goldens()
KEY, GUEST_NONCE = bytes(range(32)), bytes(range(32, 64))
LIMITS = {
    **wire.CONTROL_IN,
    **wire.AUTH_IN,
    **wire.OPEN_IN,
    **wire.EXEC_IN,
    **wire.TREE_IN,
}


def parsed(name: str) -> wire.Fields:
    return wire.parse(GOLDENS[name].payload)


@pytest.mark.parametrize("golden", GOLDENS.values(), ids=str)
def test_every_frame_is_written_the_same(golden: Golden) -> None:
    kind: int = getattr(wire, golden.frame)
    if golden.payload.startswith(b"{"):
        assert wire.message(kind, json.loads(golden.payload)) == golden.data
    else:
        assert wire.frame(kind, golden.payload) == golden.data


@pytest.mark.parametrize("golden", [g for g in GOLDENS.values() if g.way == "to guest"], ids=str)
def test_the_decoder_takes_what_the_host_says(golden: Golden) -> None:
    decoder = wire.Decoder(LIMITS)
    decoder.feed(golden.data)
    assert decoder.next() == (getattr(wire, golden.frame), golden.payload)
    assert decoder.pending == 0


def test_configure() -> None:
    fields = parsed("configure")
    assert fields.text("type") == "configure"
    assert fields.data("session_key", 32) == KEY
    assert fields.data("entropy", 512) == b"\x00\xff" * 8
    assert fields.integer("time_ns", 0, 1 << 62) == 1_700_000_000_123_456_789
    assert fields.fields("management").text_or_none("gateway") is None
    assert fields.fields("sandbox").text("gateway") == "192.168.127.1"


def test_assemble() -> None:
    plan = Assembly(parsed("assemble"))
    assert plan.layers == ["layer0", "layer1"]
    assert (plan.data, plan.data_is_new, plan.share) == ("data", True, "share")
    assert [(m.index, m.target, m.read_only, m.is_file) for m in plan.mounts] == [
        (0, "/work/project", False, False),
        (1, "/etc/x.conf", True, True),
    ]
    assert (plan.user, plan.workdir, plan.env) == ("agent", "/work/project", {"LANG": "C.UTF-8"})
    assert (plan.memory_growth_bytes, plan.memory_awaited_bytes) == (1 << 30, 1 << 29)
    assert plan.trust == "PEM"


def test_exec() -> None:
    place = Place(-1)
    place.user, place.workdir, place.env = "agent", "/home", {"LANG": "C", "A": "old"}
    command = Command(parsed("open exec"), place)
    assert command.argv == ["sh", "-c", 'echo "$0"', "", "\udcffü"]
    assert command.env == {"LANG": "C", "A": "b c", "TERM": "xterm-256color"}
    assert (command.user, command.workdir) == ("1000:docker", "/w")
    assert (command.terminal, command.rows, command.cols, command.stdin) == (True, 24, 80, True)
    default = Command(parsed("open exec with defaults"), place)
    assert (default.user, default.workdir, default.terminal) == ("agent", "/home", False)
    assert not default.stdin


def test_handshake() -> None:
    handshake = Handshake(KEY, GUEST_NONCE)
    hello = wire.message(wire.HELLO, handshake.hello())
    assert hello == GOLDENS["session hello"].data
    answer = handshake.check(GOLDENS["session auth"].payload)
    assert answer is not None
    assert wire.message(wire.WELCOME, answer) == GOLDENS["session welcome"].data


def test_entries() -> None:
    assert entry_name(parsed("file to guest")) == "f \udc80"
