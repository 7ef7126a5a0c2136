# SPDX-License-Identifier: Apache-2.0
"""Placeholders: what the sandbox holds in place of a value, and how they are found again."""

from __future__ import annotations

import re
import secrets
import string

from sbx.errors import UserError

DEFAULT = "sbx-cs-{rand}"
_RANDOM = 16
_ALPHABET = string.ascii_letters + string.digits
_MIN = 12  # shorter ones would be found where nobody put them
_MAX = 256
_SHAPE = re.compile(r"[A-Za-z0-9._~+/=:@-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Of the sandbox itself, or of the loader: not for credentials.
_RESERVED = re.compile(r"(?:SBX_|SANDBOX_|DOCKER_|DASH_|LD_).*|HOME|USER|SHELL|PATH|PWD")


def make_placeholder(template: str = DEFAULT) -> str:
    """A placeholder; `{rand}` becomes 16 random letters and digits.

    Raises:
        UserError: it is too short to be told from other text, or has characters of no header.
    """
    text = template.replace("{rand}", "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM)))
    if not _MIN <= len(text) <= _MAX or not _SHAPE.fullmatch(text):
        raise UserError(
            f"a placeholder has {_MIN} to {_MAX} letters, digits or ._~+/=:@-",
            hint="Write {rand} in it for random characters, for example: --placeholder key-{rand}",
        )
    return text


def check_variable(text: str) -> str:
    """The name of an environment variable that may hold a placeholder.

    Raises:
        UserError: it is none, or the sandbox's own.
    """
    if not _VARIABLE.fullmatch(text) or len(text) > 128:
        raise UserError("not the name of an environment variable", hint="For example: --env MY_KEY")
    if _RESERVED.fullmatch(text):
        raise UserError(f"the variable `{text}` belongs to the sandbox", hint="Choose another name")
    return text
