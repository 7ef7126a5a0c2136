# SPDX-License-Identifier: Apache-2.0
"""Templates from a registry, fetched by the host with the user's own login, converted in a builder.

Blobs are kept in the cache until the template is made, so that a pull that was cut off goes on
where it was.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sbx.errors import UserError
from sbx.image import oci
from sbx.image.cache import remove_tree
from sbx.image.oci import Manifest
from sbx.image.space import check_space
from sbx.kit.reference import OciKit
from sbx.kit.registry import Credentials, Registry, no_credentials
from sbx.lifecycle import templates as naming
from sbx.lifecycle.builder import INPUT, builder
from sbx.lifecycle.caches import DOWNLOADS
from sbx.lifecycle.convert import Source, convert, known_layers
from sbx.lifecycle.start import Listener
from sbx.sandbox.spec import Mount
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredTemplate
from sbx.system.files import private_folder
from sbx.system.locks import hold_lock
from sbx.system.progress import Progress

_LOCK = "downloads.lock"
_MAX_CONFIG_BYTES = 8 << 20
_MAX_IMAGE_BYTES = 64 << 30  # compressed


def pull(
    where: Paths,
    image: OciKit,
    credentials: Credentials = no_credentials,
    *,
    progress: Progress,
    listener: Listener,
) -> StoredTemplate:
    """The template of an image as it is in its registry now; nothing is fetched that is here.

    Raises:
        UserError: the registry has no such image, or none for this machine.
        TransientError: the registry cannot be reached.
        SbxError: it cannot be converted.
    """
    reference = naming.reference_of(image)
    registry = Registry(image, credentials)
    digest, document = registry.manifest()
    there = templates.find(where, reference)
    if there is not None and there.digest == digest:
        return there
    if oci.is_index(document):
        chosen, _name = oci.choose_manifest(document)
        registry.kit = replace(image, digest=chosen.digest)
        _digest, document = registry.manifest()
    manifest = oci.parse_manifest(document)
    data = registry.blob(manifest.config.digest, limit=_MAX_CONFIG_BYTES)
    config = oci.parse_config(oci.parse_json(data, "the configuration"))
    folder = private_folder(where.cache / DOWNLOADS)
    with hold_lock(where.cache / _LOCK):
        sources = _fetch(registry, manifest, folder, f"image `{reference}`", progress)
        mount = Mount(source=folder, target=INPUT, read_only=True)
        with builder(where, (mount,), progress=progress, listener=listener) as made:
            known = known_layers(templates.read_all(where))
            what = f"image `{reference}`"
            layers = convert(made, sources, known, what=what, progress=progress)
        stored = naming.make(
            reference,
            image_id=manifest.config.digest,
            origin=Origin.PULLED,
            config=config,
            layers=layers,
            digest=digest,
        )
        templates.write(where, stored)
        remove_tree(folder)
    return stored


def _fetch(
    registry: Registry, manifest: Manifest, folder: Path, what: str, progress: Progress
) -> tuple[Source, ...]:
    total = sum(layer.size_bytes for layer in manifest.layers)
    if total > _MAX_IMAGE_BYTES:
        raise UserError(f"{what} is larger than {_MAX_IMAGE_BYTES >> 30} GiB")
    check_space(folder, 4 * total)
    progress.begin(f"Pulling {what}", total=total)
    found: list[Source] = []
    before = 0
    for layer in manifest.layers:
        name = layer.digest.removeprefix("sha256:")
        at = before

        def told(done: int, at: int = at) -> None:
            progress.advance(at + done)

        registry.download(layer.digest, folder / name, size_bytes=layer.size_bytes, told=told)
        found.append(
            Source(path=INPUT / name, offset=0, size_bytes=layer.size_bytes, digest=layer.digest)
        )
        before += layer.size_bytes
        progress.advance(before)
    progress.end()
    return tuple(found)
