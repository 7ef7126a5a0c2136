# SPDX-License-Identifier: Apache-2.0
"""A versioned JSON file of one type: read strictly and within bounds, written atomically."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from sbx.errors import HostError, PermanentError
from sbx.system import codec
from sbx.system.files import read_bounded, write_atomic

T = TypeVar("T")


def read_document(
    path: Path,
    form: type[T],
    *,
    version: int,
    limit_bytes: int,
    damaged: Callable[[Path, str], PermanentError],
) -> T | None:
    """What the file holds beside its version; None where there is no file.

    Raises:
        PermanentError: that of `damaged`, for a file and the reason why it cannot be understood.
    """
    try:
        data: object = json.loads(read_bounded(path, limit_bytes=limit_bytes))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, HostError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    fields = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    found = fields.pop("version", None)
    if found != version:
        raise damaged(path, f"version {found}, this program knows {version}")
    try:
        return codec.from_json(form, fields)
    except codec.CodecError as error:
        raise damaged(path, str(error)) from error


def write_document(path: Path, value: object, *, version: int) -> None:
    """Replace the file in one step (HostError: it cannot be written)."""
    fields = cast("dict[str, codec.Json]", codec.to_json(value))
    text = json.dumps({"version": version, **fields}, indent=1, ensure_ascii=False)
    write_atomic(path, (text + "\n").encode())
