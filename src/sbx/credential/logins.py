# SPDX-License-Identifier: Apache-2.0
"""Logins: services that hand out tokens (OAuth 2.0), and the stand-ins that a sandbox gets.

A request to a token endpoint is read, and so is its answer: the tokens stay here, and what goes in
holds stand-ins, the same in every sandbox, since the tools insist on their form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl, urlencode

from sbx.credential.binding import Binding
from sbx.credential.places import HTTPS_PORT, Place
from sbx.credential.tokens import Tokens
from sbx.credential.values import check_value
from sbx.errors import UserError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
REFRESH = "refresh_token"  # the grant, and the field
_DEFAULT_LIFE_S = 3600  # RFC 6749, 5.1: `expires_in` may be left out


class BadTokenRequestError(Exception):
    """A request to a token endpoint that we do not read."""


class BadTokenAnswerError(Exception):
    """An answer of a token endpoint that we do not read: nothing of it may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A service with a token endpoint."""

    service: str
    token_hosts: tuple[str, ...]
    token_path: str
    places: tuple[Place, ...]  # where the access token goes
    access_stand_in: str
    refresh_stand_in: str
    refused_paths: tuple[str, ...] = ()  # there, that would hand out a credential of another kind
    file: str = ""  # where the agent keeps its tokens, below its home
    file_key: str = ""  # of the object in it
    port: int = HTTPS_PORT

    def gives_at(self, host: str, port: int) -> bool:
        """Whether tokens are given out there."""
        return port == self.port and host in self.token_hosts

    def binding(self, entry_id: str) -> Binding:
        """The access token as a credential."""
        return Binding(
            id=entry_id,
            name=self.service,
            places=self.places,
            placeholder=self.access_stand_in,
            is_fixed=True,
            refused_paths=self.refused_paths,
        )

    def file_text(self, tokens: Tokens) -> str:
        """The agent's file, with stand-ins."""
        return json.dumps(
            {
                self.file_key: {
                    "accessToken": self.access_stand_in,
                    "refreshToken": self.refresh_stand_in,
                    "expiresAt": int(tokens.expires_at * 1000),
                    "scopes": list(tokens.scopes),
                }
            }
        )


LOGINS: tuple[Login, ...] = (
    Login(
        service="anthropic",
        token_hosts=("platform.claude.com", "console.anthropic.com"),
        token_path="/v1/oauth/token",  # noqa: S106 - a path
        places=(
            Place(
                hosts=(
                    "api.anthropic.com", "console.anthropic.com", "claude.ai",
                    "mcp-proxy.anthropic.com",
                )
            ),
        ),
        access_stand_in="sk-ant-oat01-proxy-managed",
        refresh_stand_in="sk-ant-ort01-proxy-managed",
        refused_paths=("/api/oauth/claude_cli/create_api_key",),
        file=".claude/.credentials.json",
        file_key="claudeAiOauth",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What a guest asks a token endpoint."""

    fields: dict[str, str]
    is_form: bool

    @property
    def grant(self) -> str:
        return self.fields.get("grant_type", "")

    def asks_with_stand_in(self, login: Login) -> bool:
        """Whether it is to renew the tokens that we keep."""
        return self.grant == REFRESH and self.fields.get(REFRESH) == login.refresh_stand_in


def read_request(content_type: str, body: bytes) -> TokenRequest:
    """The fields of a request.

    Raises:
        BadTokenRequestError: they cannot be read in one way only.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8")
        if kind == FORM:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
        elif kind == JSON:
            found: Json = json.loads(text, object_pairs_hook=_unique)
            if not isinstance(found, dict):
                raise BadTokenRequestError("the body is not an object")
            pairs = [(key, value) for key, value in found.items() if isinstance(value, str)]
        else:
            raise BadTokenRequestError("the body is neither a form nor JSON")
    except (ValueError, RecursionError) as error:
        raise BadTokenRequestError("the body cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadTokenRequestError("a field stands there twice")
    return TokenRequest(fields=fields, is_form=kind == FORM)


def renewal(tokens: Tokens) -> tuple[str, bytes]:
    """The request that renews tokens (RFC 6749, 6): its content type and its body."""
    fields = {"grant_type": REFRESH}
    if tokens.refresh is not None:
        fields[REFRESH] = tokens.refresh.reveal()
    if tokens.client_id:
        fields["client_id"] = tokens.client_id
    if tokens.is_form:
        return FORM, urlencode(fields).encode()
    return JSON, json.dumps(fields).encode()


def read_answer(
    body: bytes, asked: TokenRequest | None, old: Tokens | None, *, host: str, now: float
) -> Tokens:
    """The tokens of a successful answer; `old` are those that it renews.

    Raises:
        BadTokenAnswerError: it holds none, or something that we do not read.
    """
    found = _object(body)
    access, refresh = found.get("access_token"), found.get(REFRESH)
    if not isinstance(access, str) or not isinstance(refresh, str | None):
        raise BadTokenAnswerError("there are no tokens in it")
    life = found.get("expires_in")
    scope = found.get("scope")
    try:
        return Tokens(
            access=check_value(access),
            refresh=check_value(refresh) if refresh else (old.refresh if old else None),
            expires_at=now + (life if isinstance(life, int | float) else _DEFAULT_LIFE_S),
            scopes=tuple(scope.split()) if isinstance(scope, str) else (old.scopes if old else ()),
            client_id=asked.fields.get("client_id", "")
            if asked
            else (old.client_id if old else ""),
            host=host,
            is_form=asked.is_form if asked else bool(old and old.is_form),
        )
    except UserError as error:
        raise BadTokenAnswerError("its tokens are malformed") from error


def masked_answer(login: Login, body: bytes, tokens: Tokens) -> bytes:
    """The answer as the guest gets it: stand-ins wherever a token is.

    Raises:
        BadTokenAnswerError: as `read_answer`.
    """
    pairs = [(tokens.access.reveal(), login.access_stand_in)]
    if tokens.refresh is not None:
        pairs.append((tokens.refresh.reveal(), login.refresh_stand_in))
    # The longer one first: one may be the beginning of the other.
    pairs.sort(key=lambda pair: -len(pair[0]))

    def mask(value: Json) -> Json:
        match value:
            case str():
                for real, stand_in in pairs:
                    value = value.replace(real, stand_in)
                return value
            case list():
                return [mask(each) for each in value]
            case dict():
                return {cast("str", mask(key)): mask(each) for key, each in value.items()}
            case _:
                return value

    return json.dumps(mask(_object(body))).encode()


def own_answer(login: Login, tokens: Tokens, now: float) -> bytes:
    """An answer of ours to a guest that wants its stand-ins renewed."""
    answer: dict[str, Json] = {
        "token_type": "Bearer",
        "access_token": login.access_stand_in,
        "refresh_token": login.refresh_stand_in,
        "expires_in": max(int(tokens.expires_at - now), 1),
    }
    if tokens.scopes:
        answer["scope"] = " ".join(tokens.scopes)
    return json.dumps(answer).encode()


def _object(body: bytes) -> dict[str, Json]:
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BadTokenAnswerError("it cannot be read") from error
    if not isinstance(found, dict):
        raise BadTokenAnswerError("it is no object")
    return cast("dict[str, Json]", found)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found
