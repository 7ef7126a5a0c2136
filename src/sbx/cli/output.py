# SPDX-License-Identifier: Apache-2.0
"""Printing: results on standard output, all else on standard error, nothing hostile on either.

Names, paths and log lines can hold bytes that steer a terminal; `clean` is applied to all text that
is not our own. JSON and YAML are plain ASCII, so no byte in them reaches a terminal as a command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sbx.cli.app import App, Format
from sbx.system.text import printable

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

_GAP = "  "


clean = printable  # the short name: it is in every line that prints what is not ours


def out(text: str = "") -> None:
    """A line of the result."""
    print(text, file=sys.stdout)


def talk(text: str = "") -> None:
    """A line for the person: progress, hints, confirmations."""
    print(text, file=sys.stderr)


def note(text: str) -> None:
    """Something that happened otherwise than the person may expect."""
    talk(f"Note: {text}")


def warn(text: str) -> None:
    """Something that should be looked at."""
    talk(f"WARN: {text}")


def emit(app: App, data: Json, *, wrap: str | None = None) -> None:
    """Print one document in the format that was asked for (not for tables).

    Raises:
        UserError: the settings are malformed.
    """
    if wrap is not None and app.settings.text("output.jsonCompat") == "wrapped":
        data = {wrap: data}
    print_document(app, data)


def print_document(app: App, data: Json) -> None:
    """Print one document as it is; a call of `sbx` prints at most one."""
    app.printed = True
    out(dump(data, app.format))


def dump(data: Json, form: Format) -> str:
    """The text of one document, without a newline at its end."""
    if form is Format.YAML:
        import yaml  # only for those who ask for it: it costs as much as the rest of the start

        text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=False)
        return text.removesuffix("...\n").rstrip("\n")
    return json.dumps(data, indent=2)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns at least two spaces apart, cleaned, without trailing spaces."""
    cells = [list(headers), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = (
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def timestamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second or finer as it is stored."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """A rounded length of time in its two largest units: `42s`, `5m 3s`, `2h 10m`, `3d 4h`."""
    left, parts = int(seconds), list[str]()
    for name, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or name == "s":
            parts.append(f"{count}{name}")
    first, *rest = parts
    return f"{first} {rest[0]}" if rest and not rest[0].startswith("0") else first
