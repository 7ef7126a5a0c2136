# SPDX-License-Identifier: Apache-2.0
"""Tokens as they are kept."""

from __future__ import annotations

import json

import pytest

from sbx.credential.tokens import Tokens, parse_tokens
from sbx.credential.values import Value
from sbx.errors import UserError

TOKENS = Tokens(
    access=Value("at-canary-0123456789"),
    refresh=Value("rt-canary-0123456789"),
    expires_at=1_800_000_000,
    scopes=("a", "b"),
    client_id="id",
    host="token.test",
    is_form=True,
)


def test_what_is_kept_comes_back() -> None:
    assert parse_tokens(TOKENS.text().reveal()) == TOKENS
    assert "canary" not in repr(TOKENS)


def test_an_agents_own_file_is_read() -> None:
    text = """{
      "claudeAiOauth": {"accessToken": "at", "refreshToken": "rt", "expiresAt": 1800000000123,
        "scopes": ["user:inference"], "subscriptionType": "max"}
    }\n"""
    found = parse_tokens(text)
    assert (found.access, found.refresh) == (Value("at"), Value("rt"))
    assert int(found.expires_at) == 1_800_000_000
    assert found.scopes == ("user:inference",)


@pytest.mark.parametrize(
    "text",
    ["", "sk-canary", "[]", "1", '{"a": 1}', '{"accessToken": 1}', "[" * 100_000,
     '{"accessToken": "at", "refreshToken": 1}', '{"accessToken": "at", "expiresAt": "x"}',
     '{"accessToken": "a\\nb"}', '{"accessToken": ""}'],
)  # fmt: skip
def test_anything_else_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_tokens(text)
    assert "canary" not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_token_ends() -> None:
    assert not TOKENS.ends_within(10, 1_799_999_980)
    assert TOKENS.ends_within(10, 1_799_999_990)
    assert json.loads(TOKENS.text().reveal())["isForm"] is True
