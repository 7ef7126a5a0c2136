# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests, as JSON that nobody has checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

Body = Mapping[str, object]


def each(value: object) -> Sequence[Body]:
    """The objects of a list; anything else has none."""
    if not isinstance(value, list):
        return ()
    return [item for item in cast("list[Body]", value) if isinstance(item, dict)]


def inner(value: object) -> Body:
    """An object; anything else is an empty one."""
    return cast("Body", value) if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """A text, or those of a list of parts."""
    if isinstance(value, str):
        return value
    return "\n".join(str(part["text"]) for part in each(value) if "text" in part)
