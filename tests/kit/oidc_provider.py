# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportMissingModuleSource=false
# mypy: disable-error-code="misc, no-untyped-call, import-untyped"
"""An OpenID provider on loopback, of Authlib's server side: devices, refresh tokens, revocation.

Authlib decides what is granted; here is only what it leaves to its users: storage and routes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE as GRANT
from authlib.oauth2.rfc8628 import (
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    DeviceCredentialDict,
)
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.serving import make_server

CLIENT, USER = "sbx-tests", "mona"


class _Client(ClientMixin):
    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return not redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return not client_secret  # a public client

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        del endpoint
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return not response_type

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in (GRANT, "refresh_token")


@dataclass
class _Token(TokenMixin):
    access: str
    refresh: str
    scope: str
    expires_in: int
    revoked: bool = False

    def check_client(self, client: ClientMixin) -> bool:
        return bool(client.get_client_id() == CLIENT)

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return self.expires_in

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return self.revoked

    def get_user(self) -> str:
        return USER

    def get_client(self) -> ClientMixin:
        return _Client()


@dataclass
class Provider:
    """What it knows, for the tests to look at and to change."""

    issuer: str = ""
    life_s: int = 3600
    slow: int = 0  # how many times it asks for more patience
    polls: int = 0
    tokens: list[_Token] = field(default_factory=list)
    asked: list[DeviceCredentialDict] = field(default_factory=list)
    answers: dict[str, bool] = field(default_factory=dict)  # by user code: whether it was agreed to
    polled: threading.Event = field(default_factory=threading.Event)


def _grants(state: Provider, key: ECKey) -> tuple[Any, Any, Any, Any]:
    class Devices(DeviceAuthorizationEndpoint):
        INTERVAL = 1

        def get_verification_uri(self) -> str:
            return f"{state.issuer}/device"

        def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
            until = int(time.time()) + data["expires_in"]
            state.asked.append(
                DeviceCredentialDict(client_id=client_id, scope=scope, **data, expires_at=until)
            )

    class Grant(DeviceCodeGrant):
        def query_device_credential(self, device_code: str) -> DeviceCredentialDict | None:
            return next((a for a in state.asked if a["device_code"] == device_code), None)

        def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
            state.polls += 1
            state.polled.set()
            found = state.answers.get(user_code)
            return None if found is None else (USER, found)

        def should_slow_down(self, credential: DeviceCredentialDict) -> bool:
            del credential
            state.slow -= 1
            return state.slow >= 0

        def create_token_response(self) -> Any:
            status, token, headers = super().create_token_response()
            claims = {
                "iss": state.issuer, "aud": CLIENT, "sub": "1", "preferred_username": USER,
                "iat": int(time.time()), "exp": int(time.time()) + 600,
            }  # fmt: skip
            return status, {**token, "id_token": jwt.encode({"alg": "ES256"}, claims, key)}, headers

    class Refresh(RefreshTokenGrant):
        INCLUDE_NEW_REFRESH_TOKEN = True
        TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012 - as Authlib has it

        def authenticate_refresh_token(self, refresh_token: str) -> _Token | None:
            good = [t for t in state.tokens if t.refresh == refresh_token and not t.revoked]
            return good[0] if good else None

        def authenticate_user(self, refresh_token: _Token) -> str:
            return refresh_token.get_user()

        def revoke_old_credential(self, refresh_token: _Token) -> None:
            refresh_token.revoked = True

    class Revocation(RevocationEndpoint):
        CLIENT_AUTH_METHODS = ["none"]  # noqa: RUF012 - as Authlib has it

        def query_token(self, token_string: str, token_type_hint: str) -> _Token | None:
            del token_type_hint
            return next((t for t in state.tokens if token_string in (t.access, t.refresh)), None)

        def revoke_token(self, token: _Token, request: Any) -> None:
            del request
            token.revoked = True

    return Devices, Grant, Refresh, Revocation


def _app(state: Provider) -> Flask:
    app = Flask("provider")

    def save(token: dict[str, Any], _request: Any) -> None:
        state.tokens.append(
            _Token(
                access=token["access_token"], refresh=token.get("refresh_token", ""),
                scope=token.get("scope", ""), expires_in=token["expires_in"],
            )
        )  # fmt: skip

    def client(client_id: str) -> _Client | None:
        return _Client() if client_id == CLIENT else None

    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {
        GRANT: state.life_s, "refresh_token": 3600,
    }  # fmt: skip
    server = AuthorizationServer(app, query_client=client, save_token=save)
    devices, grant, refresh, revocation = _grants(state, ECKey.generate_key("P-256"))
    server.register_endpoint(devices)
    server.register_endpoint(revocation)
    server.register_grant(grant)
    server.register_grant(refresh)

    @app.get("/.well-known/openid-configuration")
    def _about() -> Response:
        return jsonify(
            issuer=state.issuer,
            token_endpoint=f"{state.issuer}/token",
            device_authorization_endpoint=f"{state.issuer}/device/code",
            revocation_endpoint=f"{state.issuer}/revoke",
            jwks_uri=f"{state.issuer}/keys",
        )

    @app.post("/device/code")
    def _code() -> Any:
        return server.create_endpoint_response(devices.ENDPOINT_NAME)

    @app.post("/token")
    def _token() -> Any:
        return server.create_token_response()

    @app.post("/revoke")
    def _revoke() -> Any:
        return server.create_endpoint_response(revocation.ENDPOINT_NAME)

    @app.post("/device")
    def _agree() -> str:
        state.answers[request.form["user_code"]] = request.form["answer"] == "yes"
        return "thank you"

    return app


@contextmanager
def running_provider(life_s: int = 3600) -> Generator[Provider]:
    """A provider on a port of loopback."""
    state = Provider(life_s=life_s)
    server = make_server("127.0.0.1", 0, _app(state), threaded=True)
    state.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
