# SPDX-License-Identifier: Apache-2.0
"""Names of sandboxes: what is allowed, and what a sandbox is called when nobody said. Pure."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

from sbx.errors import UserError

MIN_LENGTH = 2
MAX_LENGTH = 63  # it becomes the host name inside, hostname(7)
RESERVED = ("default",)

_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_UNUSABLE = re.compile(r"[^A-Za-z0-9.-]+")
_RULE = (
    f"Use {MIN_LENGTH} to {MAX_LENGTH} letters, digits, `-` and `.`, "
    "starting and ending with a letter or digit"
)


def check_name(name: str) -> str:
    """Return `name`.

    Raises:
        UserError: it cannot be the name of a sandbox.
    """
    if name in RESERVED:
        raise UserError(f"sandbox name is reserved: `{name}`", hint="Use another --name")
    if (
        not MIN_LENGTH <= len(name) <= MAX_LENGTH
        or not _ALLOWED.fullmatch(name)
        or name.endswith(("-", "."))
    ):
        raise UserError(f"invalid sandbox name: {_quoted(name)}", hint=_RULE)
    return name


def default_name(agent: str, workspace: Path | None) -> str:
    """`<agent>-<basename of the workspace>`, unusable characters replaced: always a valid name."""
    parts = [agent] if workspace is None else [agent, workspace.name]
    cleaned = [_UNUSABLE.sub("-", part).strip("-.") for part in parts]
    name = "-".join(part for part in cleaned if part)[:MAX_LENGTH].rstrip("-.")
    return (
        name if len(name) >= MIN_LENGTH and name not in RESERVED else f"{name}-sandbox".lstrip("-")
    )


def free_name(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or with the first number that makes it free: `shell-app`, `shell-app-2`, …"""
    name, number = wanted, 1
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = wanted[: MAX_LENGTH - len(suffix)].rstrip("-.") + suffix
    return name


def _quoted(name: str) -> str:
    shown = name if len(name) <= MAX_LENGTH else f"{name[:MAX_LENGTH]}…"
    return f'"{shown}"'
