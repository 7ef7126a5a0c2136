# SPDX-License-Identifier: Apache-2.0
"""Images made on the spot: layers, `docker save` archives, OCI layouts, images in registries."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbx.image.store import ImageStore
from sbx.kit.reference import OciKit
from sbx.kit.registry import Credentials, Registry, no_credentials

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_APPLETS = ("sh", "cat", "ls", "id", "env", "stat", "readlink", "test", "echo", "pwd", "sleep")
_TIME = 1700000000


class LayerTar:
    """A layer that is being written."""

    def __init__(self) -> None:
        self._raw = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._raw, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `done`

    def folder(self, name: str, mode: int = 0o755, uid: int = 0) -> LayerTar:
        return self._add(name, tarfile.DIRTYPE, mode=mode, uid=uid)

    def file(
        self,
        name: str,
        data: bytes = b"",
        *,
        mode: int = 0o644,
        uid: int = 0,
        attributes: Mapping[str, str] | None = None,
    ) -> LayerTar:
        return self._add(
            name, tarfile.REGTYPE, data=data, mode=mode, uid=uid, attributes=attributes
        )

    def link(self, name: str, target: str) -> LayerTar:
        return self._add(name, tarfile.SYMTYPE, link=target)

    def hard_link(self, name: str, target: str) -> LayerTar:
        return self._add(name, tarfile.LNKTYPE, link=target)

    def device(self, name: str, major: int, minor: int) -> LayerTar:
        return self._add(name, tarfile.CHRTYPE, device=(major, minor))

    def gone(self, name: str) -> LayerTar:
        """A whiteout."""
        folder, slash, base = name.rpartition("/")
        return self.file(f"{folder}{slash}.wh.{base}")

    def opaque(self, folder: str) -> LayerTar:
        """A mark that nothing below is seen in a folder."""
        return self.file(f"{folder}/.wh..wh..opq")

    def done(self) -> bytes:
        """The archive."""
        self._tar.close()
        return self._raw.getvalue()

    def _add(
        self,
        name: str,
        kind: bytes,
        *,
        data: bytes = b"",
        mode: int = 0o644,
        uid: int = 0,
        link: str = "",
        device: tuple[int, int] = (0, 0),
        attributes: Mapping[str, str] | None = None,
    ) -> LayerTar:
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname = kind, mode, link
        member.uid = member.gid = uid
        member.mtime, member.size = _TIME, len(data)
        member.devmajor, member.devminor = device
        member.pax_headers = {
            f"SCHILY.xattr.{key}": value for key, value in (attributes or {}).items()
        }
        self._tar.addfile(member, io.BytesIO(data))
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its layers as uncompressed archives, lowest first."""

    layers: Sequence[bytes]
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    architecture: str = "amd64"

    @property
    def document(self) -> bytes:
        """Its configuration."""
        return json.dumps({
            "architecture": self.architecture,
            "os": "linux",
            "config": dict(self.config),
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]},
        }).encode()  # fmt: skip


def digest(data: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def busybox(cache: Path) -> bytes:
    """The static busybox of the runtime bundle in a cache."""
    runtime = ImageStore(cache).runtime()
    assert runtime is not None
    return (runtime.root / "usr/bin/busybox").read_bytes()


def tiny_root(program: bytes) -> LayerTar:
    """A root as small as Alpine's kin: busybox and nothing else, no user `agent`, no glibc."""
    layer = LayerTar()
    for folder in ("bin", "etc", "home", "root"):
        layer.folder(folder)
    layer.folder("tmp", 0o1777)
    layer.file("bin/busybox", program, mode=0o755)
    for name in _APPLETS:
        layer.link(f"bin/{name}", "busybox")
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    layer.file("etc/group", b"root:x:0:\n")
    return layer


def docker_archive(image: Image, tags: Sequence[str]) -> bytes:
    """What `docker save` writes."""
    out = LayerTar()
    names: list[str] = []
    for layer in image.layers:
        name = f"{hashlib.sha256(layer).hexdigest()}/layer.tar"
        if name not in names:
            out.file(name, layer)
        names.append(name)
    config = f"{hashlib.sha256(image.document).hexdigest()}.json"
    out.file(config, image.document)
    listed = [{"Config": config, "RepoTags": list(tags), "Layers": names}]
    return out.file("manifest.json", json.dumps(listed).encode()).done()


def blobs(image: Image) -> tuple[bytes, list[bytes]]:
    """The manifest of an image, and the blobs that it names: compressed layers, configuration."""
    layers = [gzip.compress(layer, 1, mtime=0) for layer in image.layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(image.document, CONFIG),
        "layers": [_descriptor(layer, LAYER) for layer in layers],
    }
    return json.dumps(manifest).encode(), [image.document, *layers]


def oci_archive(image: Image, tag: str) -> bytes:
    """An OCI layout as an archive."""
    manifest, parts = blobs(image)
    out = LayerTar().file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    for blob in (manifest, *parts):
        out.file(f"blobs/sha256/{digest(blob)[7:]}", blob)
    entry = {
        **_descriptor(manifest, MANIFEST),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    }
    index = {"schemaVersion": 2, "manifests": [entry]}
    return out.file("index.json", json.dumps(index).encode()).done()


def push(image: Image, target: OciKit, credentials: Credentials = no_credentials) -> str:
    """Store an image in a registry; the digest of its manifest."""
    registry = Registry(target, credentials)
    manifest, parts = blobs(image)
    for blob in parts:
        registry.push_blob(blob)
    return registry.push_manifest(manifest)


def _descriptor(data: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}
