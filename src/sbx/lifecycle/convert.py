# SPDX-License-Identifier: Apache-2.0
"""From an image's layers to a template's: what is there already is taken, the rest is packed.

Layers are packed in a builder, one after the other from the lowest, and each is out of its reach
before it sees the next: what is in a layer can change no layer below. So a layer that was made for
one image serves another with the same layers below, as far as the host has checked their digests.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import PermanentError, UserError
from sbx.image.oci import chain
from sbx.image.store import ImageStore
from sbx.lifecycle import packer
from sbx.lifecycle.builder import Builder
from sbx.sandbox.parts import Layer
from sbx.store.templates import StoredLayer, StoredTemplate
from sbx.system.codec import Json
from sbx.system.progress import Progress

MOST_LAYERS = 4
MAX_LAYER_BYTES = 64 << 30
_CHUNK_BYTES = 1 << 20
_SHELL_PATHS = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/busybox/sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One layer of an image, as an archive in a file that the builder sees."""

    path: Path  # inside the builder
    offset: int
    size_bytes: int
    digest: str  # sha256:… that the host has checked; empty: it could not
    diff_id: str = ""  # sha256:… of the uncompressed archive, for the builder to check

    def described(self) -> dict[str, Json]:
        """As the builder is told."""
        return {
            "path": str(self.path),
            "offset": self.offset,
            "size": self.size_bytes,
            "diff_id": self.diff_id,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Layers of an image that become one, `first` included and `end` not."""

    first: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.first


def known_layers(templates: Iterable[StoredTemplate]) -> dict[tuple[str, int], StoredLayer]:
    """The layers there are, by what they were made of."""
    return {
        (layer.chain, layer.count): layer
        for template in templates
        for layer in template.layers
        if layer.chain
    }


def chains(sources: Sequence[Source]) -> tuple[str, ...]:
    """The chain up to each layer; empty from the first on that the host has not checked."""
    found: list[str] = []
    for source in sources:
        if not source.digest or (found and not found[-1]):
            found.append("")
        else:
            found.append(chain([found[-1], source.digest]) if found else source.digest)
    return tuple(found)


def group(links: Sequence[str], known: Mapping[tuple[str, int], StoredLayer]) -> tuple[Group, ...]:
    """Which layers become one, so that there are at most four.

    The lowest are put together, where a mark that something is gone has nothing left to hide; as
    many as must be, or as an image that is here already has put together.
    """
    total = len(links)
    if total <= MOST_LAYERS:
        return tuple(Group(number, number + 1) for number in range(total))
    least = total - MOST_LAYERS + 1
    merged = next(
        (n for n in range(least, total + 1) if links[n - 1] and (links[n - 1], n) in known), least
    )
    return (Group(0, merged), *(Group(number, number + 1) for number in range(merged, total)))


def convert(
    builder: Builder,
    sources: Sequence[Source],
    known: Mapping[tuple[str, int], StoredLayer],
    *,
    what: str,
    progress: Progress,
) -> tuple[StoredLayer, ...]:
    """The layers of a template, lowest first.

    Raises:
        UserError: one is no archive, or not what its digest says.
        PermanentError, TransientError, HostError: the builder failed.
    """
    store = ImageStore(builder.where.cache)
    links = chains(sources)
    groups = group(links, known)
    made: list[StoredLayer] = []
    progress.begin(f"Unpacking {what}", total=len(groups))
    for number, one in enumerate(groups):
        link = links[one.end - 1]
        there = known.get((link, one.count)) if link else None
        if there is None or store.layer(there.digest) is None:
            progress.note(f"layer {number + 1} of {len(groups)}")
            there = _pack(builder, store, sources[one.first : one.end], link, what=what)
        made.append(there)
        progress.advance(number + 1)
    progress.end()
    return tuple(made)


def _pack(
    builder: Builder, store: ImageStore, sources: Sequence[Source], link: str, *, what: str
) -> StoredLayer:
    args: dict[str, Json] = {
        "sources": [source.described() for source in sources],
        "strip": len(sources) > 1,
    }
    answer = builder.call("pack", args, what=f"cannot use {what}")
    layer = store.take_layer(builder.out / packer.IMAGE, limit_bytes=MAX_LAYER_BYTES)
    return stored_layer(layer, answer, chain=link, count=len(sources))


def stored_layer(
    layer: Layer, answer: Mapping[str, object], *, chain: str = "", count: int = 1
) -> StoredLayer:
    """What is kept of a layer that a builder made."""
    found = answer.get("shells")
    shells = tuple(path for path in _SHELL_PATHS if isinstance(found, list) and path in found)
    return StoredLayer(
        digest=layer.digest, size_bytes=layer.size_bytes, chain=chain, count=count, shells=shells
    )


def find_shell(layers: Iterable[StoredLayer], what: str) -> str:
    """The best of the shells in a template.

    Raises:
        UserError: it has none.
    """
    there = {path for layer in layers for path in layer.shells}
    found = next((path for path in _SHELL_PATHS if path in there), None)
    if found is None:
        raise UserError(
            f"{what} has no shell, and a sandbox needs one: none of {', '.join(_SHELL_PATHS)}",
            hint="Add one to the image, such as busybox, or use its `debug` variant",
        )
    return found


def check_part(path: Path, offset: int, size: int, digest: str) -> bool:
    """Whether a part of a file, as bytes that are not looked at, has this digest (`sha256:…`)."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while size > 0 and (data := file.read(min(size, _CHUNK_BYTES))):
                found.update(data)
                size -= len(data)
    except OSError as error:
        raise UserError(f"cannot read `{path}`: {os.strerror(error.errno or 0)}") from error
    return size == 0 and f"sha256:{found.hexdigest()}" == digest


def check_answer(value: object, what: str) -> int:
    """A number that a builder gave.

    Raises:
        PermanentError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PermanentError(f"{what}: the builder's answer makes no sense")
    return value
