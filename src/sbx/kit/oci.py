# SPDX-License-Identifier: Apache-2.0
"""A kit as an OCI artifact: one layer with the kit's .tar.gz; read more widely than written."""

from __future__ import annotations

import json
from typing import cast

from sbx.kit.archive import MAX_ARCHIVE_BYTES, parse_archive, to_tar_gz
from sbx.kit.bundle import Bundle
from sbx.kit.findings import KitError
from sbx.kit.model import Spec
from sbx.kit.reference import OciKit
from sbx.kit.registry import MANIFEST, Credentials, Registry, digest_of, no_credentials

ARTIFACT = "application/vnd.opensbx.kit.v2"
LAYER = f"{ARTIFACT}.tar+gzip"
_EMPTY = "application/vnd.oci.empty.v1+json"
_EMPTY_BYTES = b"{}"


def pull(kit: OciKit, credentials: Credentials = no_credentials) -> tuple[str, Bundle]:
    """The digest of the artifact, and the kit in it.

    Raises:
        KitError: it is not there, or is no kit.
        TransientError: the registry cannot be reached.
    """
    registry = Registry(kit, credentials)
    digest, manifest = registry.manifest()
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(cast("list[object]", layers)) != 1:
        raise KitError(f"`{kit.source}` is no kit: an image of schemaVersion 2 has one layer")
    layer = cast("list[object]", layers)[0]
    fields = cast("dict[str, object]", layer) if isinstance(layer, dict) else {}
    blob = fields.get("digest")
    if not isinstance(blob, str) or not blob.startswith("sha256:"):
        raise KitError(f"`{kit.source}` is no kit: its layer has no digest")
    data = registry.blob(blob, limit=MAX_ARCHIVE_BYTES)
    return digest, parse_archive(data, what=kit.source)


def push(bundle: Bundle, spec: Spec, kit: OciKit, credentials: Credentials = no_credentials) -> str:
    """Store a kit; the digest of the artifact (raises as `pull`)."""
    registry = Registry(kit, credentials)
    layer = to_tar_gz(bundle)
    registry.push_blob(_EMPTY_BYTES)
    registry.push_blob(layer)
    return registry.push_manifest(_manifest(layer, spec))


def _manifest(layer: bytes, spec: Spec) -> bytes:
    notes = {
        "org.opencontainers.image.title": spec.display_name or spec.name,
        "org.opencontainers.image.version": spec.version,
        "org.opencontainers.image.description": spec.description,
        "org.opencontainers.image.source": spec.source_url,
        "org.opencontainers.image.licenses": " AND ".join(spec.licenses or ()) or None,
    }
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": {
            "mediaType": _EMPTY, "digest": digest_of(_EMPTY_BYTES), "size": len(_EMPTY_BYTES),
        },
        "layers": [{"mediaType": LAYER, "digest": digest_of(layer), "size": len(layer)}],
        "annotations": {name: text for name, text in notes.items() if text},
    }  # fmt: skip
    return json.dumps(document, sort_keys=True).encode()
