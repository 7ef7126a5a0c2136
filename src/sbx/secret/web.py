# SPDX-License-Identifier: Apache-2.0
"""Small requests from the host to servers that give out tokens: TLS, no redirects, bounded.

Only what a user asked for on the command line goes this way; requests of sandboxes do not.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.request
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlencode, urlsplit

from sbx.errors import TransientError, UserError
from sbx.system.fetch import open_url
from sbx.system.text import printable

_LIMIT_BYTES = 256 * 1024
_TIMEOUT_S = 30.0
_LOCAL = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, and the object that came as JSON; empty if none came."""

    status: int
    fields: dict[str, object]

    def text(self, name: str) -> str:
        """A field that is text; empty if it is none."""
        found = self.fields.get(name)
        return found if isinstance(found, str) else ""

    def number(self, name: str, default: float) -> float:
        """A field that is a number."""
        found = self.fields.get(name)
        return found if isinstance(found, int | float) else default


def check_url(text: str) -> str:
    """An address that secrets may go to: https, or this machine.

    Raises:
        UserError: it is none.
    """
    parts = urlsplit(text)
    is_safe = parts.scheme == "https" or (
        parts.scheme == "http" and _LOCAL.fullmatch(parts.netloc) is not None
    )
    if not is_safe or not parts.hostname or parts.username is not None:
        raise UserError(f'not an address for a login: "{printable(text[:200])}"',
                        hint="It starts with https://")  # fmt: skip
    return text


def get_json(url: str) -> Reply:
    """Ask.

    Raises:
        UserError: the address is none for secrets.
        TransientError: there is no answer.
    """
    return _exchange(urllib.request.Request(check_url(url)))  # noqa: S310 - checked


def post_form(url: str, fields: dict[str, str]) -> Reply:
    """Send a form (raises as `get_json`)."""
    return _exchange(urllib.request.Request(check_url(url), urlencode(fields).encode()))  # noqa: S310 - checked


def _exchange(request: urllib.request.Request) -> Reply:
    request.add_header("Accept", "application/json")
    try:
        with open_url(request, timeout_s=_TIMEOUT_S) as response:
            return Reply(response.status or 0, _object(response.read(_LIMIT_BYTES)))
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise TransientError(f"cannot reach `{request.host}`: {printable(why)}") from error


def _object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
