# SPDX-License-Identifier: Apache-2.0
"""What is read and written at token endpoints."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.credential.logins import (
    FORM,
    JSON,
    LOGINS,
    BadTokenAnswerError,
    BadTokenRequestError,
    TokenRequest,
    masked_answer,
    own_answer,
    read_answer,
    read_request,
    renewal,
)
from tests.unit.credential.test_tokens import TOKENS

(CLAUDE,) = LOGINS
NOW = 1_799_999_000.0


def test_both_kinds_of_requests_are_read() -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": CLAUDE.refresh_stand_in}
    for kind, body in (
        ("application/json; charset=utf-8", json.dumps({**fields, "n": 1}).encode()),
        (FORM, f"grant_type=refresh_token&refresh_token={CLAUDE.refresh_stand_in}".encode()),
    ):
        found = read_request(kind, body)
        assert found.fields == fields
        assert found.asks_with_stand_in(CLAUDE)
    assert not TokenRequest(fields={"refresh_token": "x"}, is_form=True).asks_with_stand_in(CLAUDE)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"a=b"),
        ("", b"a=b"),
        (JSON, b"[1]"),
        (JSON, b'"x"'),
        (JSON, b'{"a": "1", "a": "2"}'),
        (JSON, b"\xff"),
        (JSON, b"[" * 100_000),
        (FORM, b"grant_type=a&grant_type=b"),
        (FORM, b"nothing"),
    ],
)
def test_what_two_servers_could_read_differently_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(BadTokenRequestError):
        read_request(kind, body)


@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for kind in (JSON, FORM):
        try:
            read_request(kind, body)
        except BadTokenRequestError:
            continue
    try:
        read_answer(body, None, None, host="x", now=0)
    except BadTokenAnswerError:
        return


def test_a_renewal_is_asked_as_the_login_was() -> None:
    kind, body = renewal(TOKENS)
    assert kind == FORM
    assert read_request(kind, body).fields == {
        "grant_type": "refresh_token",
        "refresh_token": "rt-canary-0123456789",
        "client_id": "id",
    }


def test_what_an_answer_leaves_out_stays() -> None:
    found = read_answer(b'{"access_token": "new"}', None, TOKENS, host="h", now=NOW)
    assert found.refresh == TOKENS.refresh
    assert found.scopes == TOKENS.scopes
    assert found.client_id == "id"
    assert found.expires_at == NOW + 3600


def test_the_guest_sees_no_token_anywhere_in_an_answer() -> None:
    answer = {
        "access_token": "at-canary-0123456789",
        "refresh_token": "rt-canary-0123456789",
        "nested": [{"at-canary-0123456789": "x rt-canary-0123456789 y"}, 1, None],
    }
    text = masked_answer(CLAUDE, json.dumps(answer).encode(), TOKENS)
    assert b"canary" not in text
    assert json.loads(text)["nested"] == [
        {CLAUDE.access_stand_in: f"x {CLAUDE.refresh_stand_in} y"}, 1, None,
    ]  # fmt: skip


def test_our_own_answer_and_the_file_hold_stand_ins() -> None:
    found = json.loads(own_answer(CLAUDE, TOKENS, NOW))
    assert found == {
        "token_type": "Bearer",
        "access_token": CLAUDE.access_stand_in,
        "refresh_token": CLAUDE.refresh_stand_in,
        "expires_in": 1000,
        "scope": "a b",
    }
    assert json.loads(CLAUDE.file_text(TOKENS)) == {
        "claudeAiOauth": {
            "accessToken": CLAUDE.access_stand_in,
            "refreshToken": CLAUDE.refresh_stand_in,
            "expiresAt": 1_800_000_000_000,
            "scopes": ["a", "b"],
        }
    }
