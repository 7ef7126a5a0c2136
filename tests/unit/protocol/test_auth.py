# SPDX-License-Identifier: Apache-2.0
"""The handshake, host against guest, and what must not get through."""

from __future__ import annotations

import json

import pytest

from sbx.guest import wire
from sbx.guest.handshake import Handshake
from sbx.protocol.auth import ClientHandshake
from sbx.protocol.frames import HEADER, ProtocolError

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NONCE = b"n" * 32


def hello(handshake: Handshake) -> bytes:
    return wire.message(wire.HELLO, handshake.hello())[HEADER.size :]


def test_both_sides_agree() -> None:
    guest, host = Handshake(KEY), ClientHandshake(KEY, NONCE)
    answer = guest.check(host.answer(hello(guest))[HEADER.size :])
    assert answer is not None
    assert host.is_genuine(json.dumps(answer).encode())


def test_the_guest_refuses_another_key() -> None:
    guest, host = Handshake(KEY), ClientHandshake(OTHER_KEY, NONCE)
    assert guest.check(host.answer(hello(guest))[HEADER.size :]) is None


def test_the_host_refuses_another_key() -> None:
    guest, host = Handshake(OTHER_KEY), ClientHandshake(KEY, NONCE)
    host.answer(hello(guest))
    auth = ClientHandshake(OTHER_KEY, NONCE).answer(hello(guest))
    answer = guest.check(auth[HEADER.size :])
    assert answer is not None
    assert not host.is_genuine(json.dumps(answer).encode())


def test_an_old_proof_does_not_count_again() -> None:
    first, second = Handshake(KEY), Handshake(KEY)
    auth = ClientHandshake(KEY, NONCE).answer(hello(first))[HEADER.size :]
    assert first.check(auth) is not None
    assert second.check(auth) is None


def test_a_proof_sent_back_does_not_count() -> None:
    guest, host = Handshake(KEY), ClientHandshake(KEY, NONCE)
    auth = host.answer(hello(guest))[HEADER.size :]
    assert not host.is_genuine(json.dumps({"proof": json.loads(auth)["proof"]}).encode())


@pytest.mark.parametrize("body", [{}, {"generation": 1}, {"generation": 1, "nonce": "QQ=="}])
def test_a_hello_must_fit(body: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        ClientHandshake(KEY, NONCE).answer(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"generation": 1, "nonce": "QQ==", "proof": 1},
        {"generation": "1", "nonce": "", "proof": ""},
    ],
)
def test_an_auth_must_fit(body: dict[str, object]) -> None:
    with pytest.raises(wire.WireError):
        Handshake(KEY).check(json.dumps(body).encode())


def test_a_short_nonce_is_refused() -> None:
    body = {"generation": 1, "nonce": "QQ==", "proof": "QQ=="}
    assert Handshake(KEY).check(json.dumps(body).encode()) is None
