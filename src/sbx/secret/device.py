# SPDX-License-Identifier: Apache-2.0
"""Signing in at an OpenID provider from a machine without a browser (RFC 8628).

The provider is the user's choice. Its endpoints are in its own description (OpenID Connect
Discovery 1.0), the tokens it gives out are kept in the vault, and logging out revokes them.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sbx.credential.tokens import Tokens
from sbx.credential.values import check_value
from sbx.errors import PermanentError, SbxError, TransientError, UserError
from sbx.secret.web import Reply, check_url, get_json, post_form
from sbx.system.text import printable

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL_S = 5.0  # RFC 8628, 3.2
_SLOWER_S = 5.0  # 3.5
_LIFE_S = 900.0
_DEFAULT_TOKEN_S = 3600.0
DEFAULT_SCOPE = "openid profile offline_access"
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The endpoints of an OpenID provider."""

    issuer: str
    device: str
    token: str
    revocation: str  # empty: it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What the user has to do, and for how long it counts."""

    user_code: str
    address: str  # where it is typed in
    complete_address: str  # with the code in it; empty: there is none
    device_code: str
    interval_s: float
    ends_at: float  # of the monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Tokens, and whose they are."""

    tokens: Tokens
    user: str  # as the provider calls them; empty: it did not say


def find_provider(issuer: str) -> Provider:
    """What a provider says about itself.

    Raises:
        UserError: the address is none, or nobody signs in by device there.
        TransientError: it cannot be reached.
    """
    issuer = check_url(issuer).rstrip("/")
    reply = get_json(f"{issuer}/.well-known/openid-configuration")
    if reply.status != 200 or reply.text("issuer").rstrip("/") != issuer:
        raise UserError(f"no OpenID provider is at `{printable(issuer)}` (status {reply.status})")
    if not reply.text("device_authorization_endpoint") or not reply.text("token_endpoint"):
        raise UserError(f"`{printable(issuer)}` has no sign-in by device (RFC 8628)")
    revocation = reply.text("revocation_endpoint")
    return Provider(
        issuer=issuer,
        device=check_url(reply.text("device_authorization_endpoint")),
        token=check_url(reply.text("token_endpoint")),
        revocation=check_url(revocation) if revocation else "",
    )


def begin(provider: Provider, client_id: str, scope: str = DEFAULT_SCOPE) -> Pending:
    """Ask for a code.

    Raises:
        PermanentError: the provider refuses.
        TransientError: it cannot be reached.
    """
    reply = post_form(provider.device, {"client_id": client_id, "scope": scope})
    address = reply.text("verification_uri") or reply.text("verification_url")
    found = (reply.text("device_code"), reply.text("user_code"), address)
    if reply.status != 200 or not all(found):
        raise _refused(provider, reply)
    return Pending(
        user_code=reply.text("user_code"),
        address=address,
        complete_address=reply.text("verification_uri_complete"),
        device_code=reply.text("device_code"),
        interval_s=max(reply.number("interval", _INTERVAL_S), 1.0),
        ends_at=time.monotonic() + reply.number("expires_in", _LIFE_S),
    )


def wait(
    provider: Provider, client_id: str, pending: Pending, sleep: Sleep = time.sleep
) -> SignedIn:
    """Ask until the user has agreed; takes as long as the code counts.

    Raises:
        UserError: the user refused, or did not answer in time.
        PermanentError: the provider refuses.
        TransientError: it cannot be reached.
    """
    interval = pending.interval_s
    while True:
        if time.monotonic() + interval > pending.ends_at:
            raise UserError("nobody agreed in time: nothing was stored", hint="Run it again")
        sleep(interval)
        asked = {"grant_type": _GRANT, "device_code": pending.device_code, "client_id": client_id}
        try:
            reply = post_form(provider.token, asked)
        except TransientError:
            interval *= 2  # RFC 8628, 3.5
            continue
        match reply.text("error"):
            case "" if reply.status == 200:
                return _signed_in(provider, client_id, reply)
            case "authorization_pending":
                continue
            case "slow_down":
                interval += _SLOWER_S
            case "access_denied":
                raise UserError("the login was refused: nothing was stored")
            case "expired_token":
                raise UserError("the code has ended: nothing was stored", hint="Run it again")
            case _:
                raise _refused(provider, reply)


def renew(tokens: Tokens) -> Tokens:
    """New tokens in place of those that end; `host` is their provider.

    Raises:
        PermanentError: the login has ended.
        TransientError: the provider cannot be reached.
    """
    provider = find_provider(tokens.host)
    if tokens.refresh is None:
        raise _ended(provider)
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": tokens.refresh.reveal(),
        "client_id": tokens.client_id,
    }
    reply = post_form(provider.token, fields)
    if reply.status in (400, 401, 403):
        raise _ended(provider)
    if reply.status != 200:
        raise TransientError(f"`{provider.issuer}` did not renew the login ({reply.status})")
    return _tokens(provider, tokens.client_id, reply, tokens)


def revoke(tokens: Tokens) -> bool:
    """Tell the provider that the tokens are not used any more (RFC 7009); whether it took it."""
    try:
        provider = find_provider(tokens.host)
        if not provider.revocation:
            return False
        fields = {"client_id": tokens.client_id}
        if tokens.refresh is not None:
            fields |= {"token": tokens.refresh.reveal(), "token_type_hint": "refresh_token"}
        else:
            fields |= {"token": tokens.access.reveal(), "token_type_hint": "access_token"}
        return post_form(provider.revocation, fields).status == 200
    except SbxError:
        return False


def _signed_in(provider: Provider, client_id: str, reply: Reply) -> SignedIn:
    return SignedIn(
        tokens=_tokens(provider, client_id, reply, None),
        user=_user(provider, client_id, reply.text("id_token")),
    )


def _tokens(provider: Provider, client_id: str, reply: Reply, old: Tokens | None) -> Tokens:
    try:
        refresh = reply.text("refresh_token")
        return Tokens(
            access=check_value(reply.text("access_token")),
            refresh=check_value(refresh) if refresh else (old.refresh if old else None),
            expires_at=time.time() + reply.number("expires_in", _DEFAULT_TOKEN_S),
            scopes=tuple(reply.text("scope").split()),
            client_id=client_id,
            host=provider.issuer,
            is_form=True,
        )
    except UserError:
        raise PermanentError(f"`{provider.issuer}` gave out no token") from None


def _user(provider: Provider, client_id: str, id_token: str) -> str:
    """Whose it is. The token came from its issuer over TLS (OpenID Connect Core, 3.1.3.7, 6)."""
    try:
        part = id_token.split(".")[1]
        found: object = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    claims = cast("dict[str, object]", found)
    audience = claims.get("aud")
    meant = client_id == audience or (
        isinstance(audience, list) and client_id in cast("list[object]", audience)
    )
    if str(claims.get("iss", "")).rstrip("/") != provider.issuer or not meant:
        raise PermanentError(f"`{provider.issuer}` gave out an identity that is for somebody else")
    name = claims.get("preferred_username") or claims.get("email") or claims.get("sub")
    return name if isinstance(name, str) and name.isprintable() and ":" not in name else ""


def _refused(provider: Provider, reply: Reply) -> PermanentError:
    why = reply.text("error_description") or reply.text("error") or f"status {reply.status}"
    return PermanentError(f"`{provider.issuer}` refuses the login: {printable(why[:300])}")


def _ended(provider: Provider) -> PermanentError:
    return PermanentError(
        f"the login at `{provider.issuer}` has ended", hint="Run: sbx login --device"
    )
