# SPDX-License-Identifier: Apache-2.0
"""The documents of container images, parsed once: manifests, indexes, configurations.

OCI Image Specification 1.1, Docker's schema 2, and the `manifest.json` of `docker save`. No input
or output here: what is not as it must be is a UserError about the image.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from sbx.errors import UserError

ARCHITECTURE = "amd64"
SYSTEM = "linux"
MAX_LAYERS = 127  # what overlay2 takes
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REF_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A blob that a manifest names."""

    digest: str  # sha256:…
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image of one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]  # lowest first


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about how it is run."""

    architecture: str = ARCHITECTURE
    system: str = SYSTEM
    user: str = ""
    workdir: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    diff_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """One image of a `docker save` archive; the names are those of members."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def digest_of(data: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_json(data: bytes | str, what: str) -> Fields:
    """A JSON object.

    Raises:
        UserError: it is none.
    """
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{what} is not JSON") from error
    return _object(found, what)


def parse_manifest(found: Fields) -> Manifest:
    """A manifest (UserError: it is none)."""
    layers = _list(found.get("layers"), "the manifest's layers")
    if not layers:
        raise _wrong("it has no layers")
    if len(layers) > MAX_LAYERS:
        raise _wrong(f"it has more than {MAX_LAYERS} layers")
    return Manifest(
        config=_descriptor(found.get("config")), layers=tuple(_descriptor(one) for one in layers)
    )


def is_index(found: Fields) -> bool:
    """Whether it is a list of manifests, one for each platform."""
    return "manifests" in found


def choose_manifest(index: Fields) -> tuple[Descriptor, str]:
    """The manifest for this machine, and the name that it has in the index, which may be empty.

    Raises:
        UserError: there is none for it.
    """
    others: list[str] = []
    for one in _list(index.get("manifests"), "the index's manifests"):
        entry = _object(one, "an entry of the index")
        notes = _strings(entry.get("annotations"))
        name = next((notes[key] for key in _REF_NAMES if notes.get(key)), "")
        platform = entry.get("platform")
        if platform is None:
            return _descriptor(entry), name
        wanted = _object(platform, "a platform")
        if wanted.get("os") == SYSTEM and wanted.get("architecture") == ARCHITECTURE:
            return _descriptor(entry), name
        others.append(f"{wanted.get('os')}/{wanted.get('architecture')}")
    known = ", ".join(sorted({one for one in others if "unknown" not in one})) or "none"
    raise UserError(
        f"the image is not made for {SYSTEM}/{ARCHITECTURE}; it has: {known}",
        hint=f"Build it with: docker build --platform {SYSTEM}/{ARCHITECTURE}",
    )


def parse_config(found: Fields) -> ImageConfig:
    """An image's configuration.

    Raises:
        UserError: it is none, or of another platform.
    """
    inner = _object(found.get("config") or {}, "the configuration")
    rootfs = _object(found.get("rootfs") or {}, "the configuration's rootfs")
    config = ImageConfig(
        architecture=str(found.get("architecture") or ARCHITECTURE),
        system=str(found.get("os") or SYSTEM),
        user=_text(inner.get("User")),
        workdir=_text(inner.get("WorkingDir")),
        env=_variables(_texts(inner.get("Env"))),
        entrypoint=_texts(inner.get("Entrypoint")),
        command=_texts(inner.get("Cmd")),
        labels=_strings(inner.get("Labels")),
        diff_ids=_texts(rootfs.get("diff_ids")),
    )
    if (config.system, config.architecture) != (SYSTEM, ARCHITECTURE):
        raise UserError(
            f"the image is made for {config.system}/{config.architecture}, "
            f"this machine is {SYSTEM}/{ARCHITECTURE}",
            hint=f"Build it with: docker build --platform {SYSTEM}/{ARCHITECTURE}",
        )
    return config


def parse_saved(text: str) -> tuple[SavedImage, ...]:
    """The images that the `manifest.json` of an archive names (UserError: it names none)."""
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong("manifest.json is not JSON") from error
    images = tuple(_saved(one) for one in _list(found, "manifest.json"))
    if not images:
        raise _wrong("manifest.json names none")
    return images


def chain(digests: Sequence[str]) -> str:
    """What stands for a stack of layers, lowest first: the ChainID of the specification."""
    found = digests[0]
    for one in digests[1:]:
        found = digest_of(f"{found} {one}".encode())
    return found


def _saved(one: object) -> SavedImage:
    entry = _object(one, "an image of manifest.json")
    layers = _texts(entry.get("Layers"))
    config = _text(entry.get("Config"))
    if not layers or not config:
        raise _wrong("it has no layers")
    if len(layers) > MAX_LAYERS:
        raise _wrong(f"it has more than {MAX_LAYERS} layers")
    return SavedImage(config=config, layers=layers, tags=_texts(entry.get("RepoTags")))


def _descriptor(one: object) -> Descriptor:
    entry = _object(one, "a descriptor")
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _wrong("a descriptor has no digest")
    if not isinstance(size, int) or size < 0:
        raise _wrong("a descriptor has no size")
    kind = entry.get("mediaType")
    return Descriptor(
        digest=digest, size_bytes=size, media_type=kind if isinstance(kind, str) else ""
    )


def _variables(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, equals, value in pairs if equals and name}


def _object(found: object, what: str) -> Fields:
    if not isinstance(found, dict):
        raise _wrong(f"{what} is not a JSON object")
    return cast("dict[str, object]", found)


def _list(found: object, what: str) -> list[object]:
    if not isinstance(found, list):
        raise _wrong(f"{what} are not a list")
    return cast("list[object]", found)


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


def _texts(found: object) -> tuple[str, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(one for one in cast("list[object]", found) if isinstance(one, str))


def _strings(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    pairs = cast("dict[str, object]", found).items()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _wrong(why: str) -> UserError:
    return UserError(f"not an image that can be used: {why}")
