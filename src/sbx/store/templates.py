# SPDX-License-Identifier: Apache-2.0
"""The user's templates: what is known about each tag, one file each below `<state>/templates`.

The layers themselves are in the cache, by digest, shared by all. The base template and those of
agents are made by us and are not here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sbx.errors import ConflictError, NotFoundError, PermanentError
from sbx.store.documents import read_document, write_document
from sbx.store.paths import Paths, make_private
from sbx.system.files import private_folder

FOLDER = "templates"
_VERSION = 1
_LIMIT_BYTES = 4 << 20
_SHORTEST_PREFIX = 4


class Origin(StrEnum):
    """How a template came here."""

    PULLED = "pulled"
    LOADED = "loaded"
    SAVED = "saved"  # of a sandbox
    BUILT = "built"  # of a Dockerfile


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """One layer of a template, and the layers of the image that it was made of."""

    digest: str  # of the EROFS file
    size_bytes: int
    chain: str = ""  # ChainID up to here, over digests that the host has checked; empty: it did not
    count: int = 1  # so many layers of the image are in it
    shells: tuple[str, ...] = ()  # paths of shells in it


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTemplate:
    """One tag."""

    reference: str  # REGISTRY/NAME:TAG or REGISTRY/NAME@DIGEST
    id: str  # sha256:… of the image's configuration
    origin: Origin
    created_at: datetime  # UTC, when it came here
    digest: str = ""  # of the manifest in the registry
    flavor: str = ""  # the agent that it is made for
    user: str
    workdir: str
    env: dict[str, str]
    command: tuple[str, ...]
    labels: dict[str, str]
    layers: tuple[StoredLayer, ...]  # lowest first

    @property
    def size_bytes(self) -> int:
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def repository(self) -> str:
        """The reference without its tag or digest."""
        return split_reference(self.reference)[0]

    @property
    def tag(self) -> str:
        """The tag, or the digest."""
        return split_reference(self.reference)[1]


def split_reference(reference: str) -> tuple[str, str]:
    """A full reference in its name and its tag or digest."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    name, _colon, tag = reference.rpartition(":")
    return name, tag


def read_all(where: Paths) -> tuple[StoredTemplate, ...]:
    """All templates, by reference.

    Raises:
        PermanentError: a file is damaged or of a newer version.
    """
    folder = where.state / FOLDER
    if not folder.is_dir():
        return ()
    found = (_read(path) for path in folder.glob("*.json"))
    return tuple(sorted((one for one in found if one), key=lambda one: one.reference))


def find(where: Paths, reference: str) -> StoredTemplate | None:
    """The template of a full reference (raises as `read_all`)."""
    return _read(_path(where, reference))


def by_id(where: Paths, prefix: str) -> tuple[StoredTemplate, ...]:
    """The templates whose id begins so, with or without `sha256:` (raises as `read_all`)."""
    wanted = prefix.removeprefix("sha256:")
    if len(wanted) < _SHORTEST_PREFIX or not set(wanted) <= set("0123456789abcdef"):
        return ()
    return tuple(t for t in read_all(where) if t.id.removeprefix("sha256:").startswith(wanted))


def write(where: Paths, template: StoredTemplate) -> None:
    """Store a template under its reference, in place of what was there.

    Raises:
        HostError: it cannot be written.
    """
    make_private(where)
    private_folder(where.state / FOLDER)
    write_document(_path(where, template.reference), template, version=_VERSION)


def remove(where: Paths, reference: str) -> None:
    """Forget a tag; its layers stay until `LayerShelf.prune`.

    Raises:
        NotFoundError: there is none.
    """
    try:
        _path(where, reference).unlink()
    except FileNotFoundError as error:
        raise not_found(reference) from error


def taken(reference: str) -> ConflictError:
    """The error for a tag that is in use."""
    return ConflictError(
        f"a template `{reference}` already exists",
        hint=f"Use another tag, replace it with --force, or run: sbx template rm {reference}",
    )


def not_found(reference: str) -> NotFoundError:
    """The error for a tag that is not there."""
    return NotFoundError(f'template not found: "{reference}"', hint="Run: sbx template ls")


def _path(where: Paths, reference: str) -> Path:
    name = hashlib.sha256(reference.encode()).hexdigest()[:32]
    return where.state / FOLDER / f"{name}.json"


def _read(path: Path) -> StoredTemplate | None:
    return read_document(
        path, StoredTemplate, version=_VERSION, limit_bytes=_LIMIT_BYTES, damaged=_damaged
    )


def _damaged(path: Path, why: str) -> PermanentError:
    return PermanentError(
        f"cannot read the template `{path}`: {why}",
        hint=f"Remove it, and load or pull the template again: rm {path}",
    )
