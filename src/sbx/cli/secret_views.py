# SPDX-License-Identifier: Apache-2.0
"""What is shown of secrets: tables and documents, with masks only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sbx.cli.output import Json, out, table, timestamp

if TYPE_CHECKING:
    from sbx.secret.entries import Entry

_HEADERS = ("SCOPE", "TYPE", "NAME", "SECRET")
_CUSTOM_HEADERS = ("SCOPE", "TARGETS", "ENV", "PLACEHOLDER", "SECRET")


def tables(plain: Sequence[Entry], custom: Sequence[Entry]) -> None:
    """Print both tables; an empty one is left out."""
    if plain:
        out(table(_HEADERS, [[e.scope, e.kind, e.name, shown(e)] for e in plain]))
    if custom:
        if plain:
            out()
        out("CUSTOM SECRETS")
        out(
            table(
                _CUSTOM_HEADERS,
                [[e.scope, ",".join(e.hosts), e.name, e.placeholder, shown(e)] for e in custom],
            )
        )


def document(plain: Sequence[Entry], custom: Sequence[Entry], *, env_only: int) -> dict[str, Json]:
    """Both lists as `ls --json` has them."""
    return {
        "secrets": [
            {
                "scope": scope(e),
                "type": e.kind.value,
                "name": e.name,
                "secret": shown(e),
                "source": e.source.value,
                "created_at": timestamp(e.created_at),
            }
            for e in plain
        ],
        "custom_secrets": [
            {
                "scope": scope(e),
                "env": e.name,
                "placeholder": e.placeholder,
                "targets": list(e.hosts),
                "secret": shown(e),
                "source": e.source.value,
                "created_at": timestamp(e.created_at),
            }
            for e in custom
        ],
        "env_only_count": env_only,
    }


def scope(entry: Entry) -> str:
    """As documents have it."""
    if entry.host_only:
        return "host"
    return f"sandbox:{entry.sandbox}" if entry.sandbox else "global"


def where(entry: Entry) -> str:
    """As a sentence has it."""
    if entry.host_only:
        return "for this host only"
    return f"for sandbox {entry.sandbox}" if entry.sandbox else "for all sandboxes"


def shown(entry: Entry) -> str:
    """The masked value, or where it comes from."""
    from sbx.secret.entries import Source

    match entry.source:
        case Source.REF | Source.COMMAND:
            return f"({entry.source.value}: {entry.reference})"
        case Source.OAUTH:
            return "(oauth configured)"
        case _:
            return entry.mask or "(stored)"
