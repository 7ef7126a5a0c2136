# SPDX-License-Identifier: Apache-2.0
"""Templates from a file: what `docker save` writes, or an OCI layout as an archive.

The archive is read in a builder, which says what is where. The host checks digests of ranges of
the file, as bytes, and parses the small JSON documents in it.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from sbx.errors import PermanentError, UserError
from sbx.image import oci
from sbx.image.oci import ImageConfig
from sbx.image.space import check_space
from sbx.lifecycle import templates as naming
from sbx.lifecycle.builder import INPUT, Builder, builder
from sbx.lifecycle.convert import Source, check_part, convert, known_layers
from sbx.lifecycle.start import Listener
from sbx.sandbox.spec import Mount
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredTemplate
from sbx.system.progress import Progress

_BLOBS = "blobs/sha256/"
_LINKS = 8  # links that are followed


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What a builder found in an archive."""

    path: Path  # inside the builder
    files: Mapping[str, tuple[int, int]]  # member to offset and size
    links: Mapping[str, str]
    documents: Mapping[str, bytes]  # the small ones that look like JSON

    def document(self, name: str) -> bytes:
        """The bytes of a JSON document.

        Raises:
            UserError: there is none, or it is not what its name's digest says.
        """
        data = self.documents.get(self.follow(name))
        if data is None:
            raise UserError(f"not an image that can be used: it has no `{name}`")
        if name.startswith(_BLOBS) and oci.digest_of(data) != _digest_in(name):
            raise UserError(f"not an image that can be used: `{name[:30]}…` is damaged")
        return data

    def follow(self, name: str) -> str:
        """The member that a name leads to."""
        found = posixpath.normpath(name)
        for _ in range(_LINKS):
            if found not in self.links:
                break
            found = self.links[found]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """One image in an archive."""

    id: str
    config: ImageConfig
    layers: tuple[str, ...]  # names of members
    tags: tuple[str, ...]


def load(
    where: Paths,
    file: Path,
    *,
    overwrite: bool = True,
    progress: Progress,
    listener: Listener,
) -> tuple[StoredTemplate, ...]:
    """Make templates of the images in a file, all of them or none.

    Raises:
        UserError: the file holds no image that can be used here.
        ConflictError: a tag is taken, and `overwrite` is false.
        SbxError: it cannot be converted.
    """
    path = file.resolve()
    if not path.is_file():
        raise UserError(f"no such file: `{file}`")
    check_space(_existing(where.cache), 2 * path.stat().st_size)
    mount = Mount(source=path, target=INPUT, read_only=True, is_file=True)
    with builder(where, (mount,), progress=progress, listener=listener) as made:
        progress.begin(f"Reading {path.name}")
        archive = read_archive(made, path.name)
        images = find_images(archive)
        progress.end()
        tagged = [replace(image, tags=_tags(image, path)) for image in images]
        for image in tagged if not overwrite else ():
            for tag in image.tags:
                naming.check_free(where, tag, image_id=image.id)
        found: list[StoredTemplate] = []
        for image in tagged:
            found += _load_one(made, archive, image, file=path, progress=progress)
        for one in found:
            templates.write(where, one)
    return tuple(found)


def read_archive(made: Builder, name: str) -> Archive:
    """Let a builder say what is in the archive that it sees (UserError: it is none)."""
    answer = made.call("list", {"path": str(INPUT)}, what=f"cannot load `{name}`")
    try:
        files = cast("dict[str, list[int]]", answer["files"])
        documents = cast("dict[str, str]", answer["documents"])
        return Archive(
            path=Path(str(answer["path"])),
            files={member: (int(at[0]), int(at[1])) for member, at in files.items()},
            links={str(k): str(v) for k, v in cast("dict[str, str]", answer["links"]).items()},
            documents={
                member: base64.b64decode(text, validate=True) for member, text in documents.items()
            },
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, binascii.Error) as error:
        raise PermanentError(
            f"cannot load `{name}`: the builder's answer makes no sense"
        ) from error


def find_images(archive: Archive) -> tuple[FoundImage, ...]:
    """The images in an archive (UserError: there is none that can be used)."""
    if "manifest.json" in archive.documents:
        text = archive.documents["manifest.json"].decode(errors="replace")
        return tuple(_saved(archive, one) for one in oci.parse_saved(text))
    if "index.json" in archive.documents:
        return (_layout(archive),)
    raise UserError(
        "not an image: the archive has neither manifest.json nor index.json",
        hint="Make it with: docker save IMAGE -o FILE.tar",
    )


def _saved(archive: Archive, one: oci.SavedImage) -> FoundImage:
    data = archive.document(one.config)
    image_id = oci.digest_of(data)
    named = posixpath.basename(one.config).removesuffix(".json")
    if len(named) == 64 and f"sha256:{named}" != image_id:
        raise UserError("not an image that can be used: its configuration is damaged")
    config = oci.parse_config(oci.parse_json(data, "the configuration"))
    return FoundImage(id=image_id, config=config, layers=one.layers, tags=one.tags)


def _layout(archive: Archive) -> FoundImage:
    index = oci.parse_json(archive.documents["index.json"], "index.json")
    chosen, tag = oci.choose_manifest(index)
    document = oci.parse_json(archive.document(_blob(chosen.digest)), "the manifest")
    if oci.is_index(document):
        chosen, _name = oci.choose_manifest(document)
        document = oci.parse_json(archive.document(_blob(chosen.digest)), "the manifest")
    manifest = oci.parse_manifest(document)
    data = archive.document(_blob(manifest.config.digest))
    return FoundImage(
        id=manifest.config.digest,
        config=oci.parse_config(oci.parse_json(data, "the configuration")),
        layers=tuple(_blob(layer.digest) for layer in manifest.layers),
        tags=(tag,) if tag else (),
    )


def _load_one(
    made: Builder, archive: Archive, image: FoundImage, *, file: Path, progress: Progress
) -> list[StoredTemplate]:
    sources = sources_of(archive, image, file=file)
    known = known_layers(templates.read_all(made.where))
    layers = convert(made, sources, known, what=f"image `{image.tags[0]}`", progress=progress)
    return [
        naming.make(
            tag,
            image_id=image.id,
            origin=Origin.LOADED,
            config=image.config,
            layers=layers,
        )
        for tag in image.tags
    ]


def _tags(image: FoundImage, file: Path) -> tuple[str, ...]:
    """Full references; an image without a tag takes the file's name."""
    words = image.tags or (naming.folder_tag(file.name.split(".")[0]),)
    return tuple(map(naming.check_tag, words))


def sources_of(archive: Archive, image: FoundImage, *, file: Path) -> tuple[Source, ...]:
    """The layers of an image in an archive, their digests checked as far as the host can.

    Raises:
        UserError: one is not there, or not what its digest says.
    """
    ids = image.config.diff_ids
    if ids and len(ids) != len(image.layers):
        raise UserError("not an image that can be used: its configuration has other layers")
    found: list[Source] = []
    for number, name in enumerate(image.layers):
        member = archive.follow(name)
        place = archive.files.get(member)
        if place is None:
            raise UserError(f"not an image that can be used: it has no `{name[:40]}`")
        found.append(_source(archive, member, place, ids[number] if ids else "", file))
    return tuple(found)


def _source(
    archive: Archive, member: str, place: tuple[int, int], diff_id: str, file: Path
) -> Source:
    offset, size = place
    named = _digest_in(member)
    readable = archive.path == INPUT  # what the builder unpacked first, only it can read
    wanted = named or diff_id
    if readable and wanted and check_part(file, offset, size, wanted):
        return Source(path=archive.path, offset=offset, size_bytes=size, digest=wanted)
    if readable and named:
        raise UserError(f"not an image that can be used: layer `{named[7:19]}` is damaged")
    return Source(path=archive.path, offset=offset, size_bytes=size, digest="", diff_id=diff_id)


def _blob(digest: str) -> str:
    return _BLOBS + digest.removeprefix("sha256:")


def _digest_in(name: str) -> str:
    return f"sha256:{name.removeprefix(_BLOBS)}" if name.startswith(_BLOBS) else ""


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
