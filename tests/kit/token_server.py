# SPDX-License-Identifier: Apache-2.0
"""What a token endpoint decides (RFC 6749, 7636): codes with PKCE, refresh tokens for one use."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qsl


def challenge_of(verifier: str) -> str:
    """What a client shows of its secret (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class TokenServer:
    """Gives out tokens, and remembers which are good."""

    life_s: int = 3600
    codes: dict[str, str] = field(default_factory=dict[str, str])  # code to PKCE challenge
    access: list[str] = field(default_factory=list[str])  # given out, the last one is good
    refresh: list[str] = field(default_factory=list[str])
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def authorize(self, challenge: str) -> str:
        """A code, as the browser shows it after the user has agreed."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = challenge
        return code

    def answer(self, content_type: str, body: bytes) -> tuple[int, bytes]:
        """Status and JSON."""
        if content_type.startswith("application/json"):
            fields: dict[str, str] = json.loads(body)
        else:
            fields = dict(parse_qsl(body.decode()))
        self.asked.append(fields)
        match fields.get("grant_type"):
            case "authorization_code":
                challenge = self.codes.pop(fields.get("code", ""), None)
                if challenge != challenge_of(fields.get("code_verifier", "")):
                    return self._no(fields.get("code", ""))
            case "refresh_token":
                if not self.refresh or fields.get("refresh_token") != self.refresh[-1]:
                    return self._no(fields.get("refresh_token", ""))
            case _:
                return 400, b'{"error": "unsupported_grant_type"}'
        return 200, self._tokens()

    def _tokens(self) -> bytes:
        self.access.append("sk-ant-oat01-" + secrets.token_hex(30))
        self.refresh.append("sk-ant-ort01-" + secrets.token_hex(30))
        return json.dumps(
            {
                "token_type": "Bearer",
                "access_token": self.access[-1],
                "expires_in": self.life_s,
                "refresh_token": self.refresh[-1],
                "scope": "user:inference user:profile",
                "account": {"email_address": "me@example.com", "hint": f"x{self.access[-1]}y"},
            }
        ).encode()

    def _no(self, quoted: str) -> tuple[int, bytes]:
        """As careless servers do, it says what it was given."""
        return 400, json.dumps({"error": "invalid_grant", "error_description": quoted}).encode()
