# SPDX-License-Identifier: Apache-2.0
"""The id of a sandbox, for those who need nothing else of its specification."""

from __future__ import annotations

import json
from pathlib import Path

from sbx.errors import NotFoundError, PermanentError
from sbx.store import paths
from sbx.store.paths import Paths
from sbx.system.files import read_bounded

VERSION = 1  # of the stored forms
LIMIT_BYTES = 4 << 20


def read_id(where: Paths, name: str) -> str:
    """Read the id that a sandbox's folder of sockets is named by.

    Raises:
        NotFoundError: there is no such sandbox.
        PermanentError: the file is damaged or of a newer version.
    """
    path = where.sandbox(name) / paths.SPEC
    found = read_fields(path, name).get("id")
    if not isinstance(found, str):
        raise damaged(path, name, "no id")
    return found


def read_fields(path: Path, name: str) -> dict[str, object]:
    """The fields of a stored form of this version (raises as `read_id`)."""
    try:
        data: object = json.loads(read_bounded(path, limit_bytes=LIMIT_BYTES))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise not_found(name) from error
    except ValueError as error:
        raise damaged(path, name, str(error)) from error
    fields: dict[str, object] = data if isinstance(data, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    version = fields.pop("version", None)
    if version != VERSION:
        raise damaged(path, name, f"version {version}, this program knows {VERSION}")
    return fields


def not_found(name: str) -> NotFoundError:
    """There is no such sandbox."""
    return NotFoundError(f'sandbox not found: "{name}"', hint="Run: sbx ls")


def damaged(path: Path, name: str, why: str) -> PermanentError:
    """A file in a sandbox's folder cannot be understood."""
    return PermanentError(
        f"cannot read `{path}`: {why}",
        hint=f"The data disk beside it is untouched; to give the sandbox up, run: sbx rm -f {name}",
    )
