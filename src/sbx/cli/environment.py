# SPDX-License-Identifier: Apache-2.0
"""`-e` and `--env-file`: variables for the inside, in docker's format.

A file holds `KEY=VALUE` lines; `#` starts a comment line; quotes are part of the value; a bare KEY
copies the host's value and is left out where the host has none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sbx.errors import UserError
from sbx.system.files import read_bounded

_LIMIT_BYTES = 1 << 20


def collect(
    env: Sequence[str], files: Sequence[str], host: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables that were asked for; later files win over earlier ones, `-e` wins over files.

    Raises:
        UserError: a file cannot be read, or a line or option is not a variable.
    """
    source = os.environ if host is None else host
    found: dict[str, str] = {}
    for name in files:
        for number, line in enumerate(_lines(name), 1):
            found |= _one(line, source, where=f"env file `{name}`, line {number}")
    for item in env:
        found |= _one(item, source, where="--env")
    return found


def _lines(name: str) -> list[str]:
    try:
        text = read_bounded(Path(name), limit_bytes=_LIMIT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read env file `{name}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read env file `{name}`: it is not UTF-8 text") from error
    lines = (line.removesuffix("\r").lstrip() for line in text.split("\n"))
    return ["" if line.startswith("#") else line for line in lines]


def _one(item: str, host: Mapping[str, str], *, where: str) -> dict[str, str]:
    if not item.strip():
        if where == "--env":
            raise UserError(
                "empty variable in --env", hint="Use KEY=VALUE, or KEY to copy the host's value"
            )
        return {}
    key, equals, value = item.partition("=")
    if not key or any(c.isspace() or not c.isprintable() for c in key) or "\0" in value:
        raise UserError(
            f'not a variable in {where}: "{item}"',
            hint="Use KEY=VALUE, or KEY to copy the host's value",
        )
    if equals:
        return {key: value}
    return {key: host[key]} if key in host else {}
