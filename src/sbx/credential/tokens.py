# SPDX-License-Identifier: Apache-2.0
"""The tokens of a login as they are kept: one text in the vault, never in a file of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

from sbx.credential.values import Value, check_value
from sbx.errors import UserError

_NO_TOKENS = 'not the tokens of a login: JSON with "accessToken" and "refreshToken" is wanted'


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A pair of tokens, and what it takes to renew it."""

    access: Value
    refresh: Value | None
    expires_at: float  # seconds since 1970
    scopes: tuple[str, ...] = ()
    client_id: str = ""  # under which they were given out
    host: str = ""  # that gave them out; empty: the first of the service
    is_form: bool = False  # it is asked with a form, not with JSON

    def ends_within(self, seconds: float, now: float) -> bool:
        """Whether the access token is of no use by then."""
        return self.expires_at - now <= seconds

    def text(self) -> Value:
        """What the vault keeps."""
        return check_value(
            json.dumps(
                {
                    "accessToken": self.access.reveal(),
                    "refreshToken": self.refresh and self.refresh.reveal(),
                    "expiresAt": int(self.expires_at * 1000),
                    "scopes": list(self.scopes),
                    "clientId": self.client_id,
                    "host": self.host,
                    "isForm": self.is_form,
                }
            )
        )


def parse_tokens(text: str) -> Tokens:
    """Tokens as we keep them, or as an agent's own file has them.

    Raises:
        UserError: there are none in it.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(_NO_TOKENS) from None  # the cause would quote it
    if isinstance(found, dict) and len(cast("dict[str, object]", found)) == 1:
        (found,) = cast("dict[str, object]", found).values()  # Claude Code: `claudeAiOauth`
    if not isinstance(found, dict):
        raise UserError(_NO_TOKENS)
    fields = cast("dict[str, object]", found)
    access, refresh = fields.get("accessToken"), fields.get("refreshToken")
    ends: object = fields.get("expiresAt", 0)
    scopes: object = fields.get("scopes") or list[object]()
    if (
        not isinstance(access, str)
        or not isinstance(refresh, str | None)
        or not isinstance(ends, int | float)
        or not isinstance(scopes, list)
    ):
        raise UserError(_NO_TOKENS)
    return Tokens(
        access=check_value(access),
        refresh=check_value(refresh) if refresh else None,
        expires_at=ends / 1000,
        scopes=tuple(str(each) for each in cast("list[object]", scopes)),
        client_id=str(fields.get("clientId") or ""),
        host=str(fields.get("host") or ""),
        is_form=fields.get("isForm") is True,
    )
