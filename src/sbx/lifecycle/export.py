# SPDX-License-Identifier: Apache-2.0
"""A template as a file that `docker load` takes: one layer with everything, and how it is run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import stat
import tarfile
from pathlib import Path

from sbx.errors import ConflictError, HostError, PermanentError
from sbx.image.oci import ARCHITECTURE, SYSTEM
from sbx.lifecycle.builder import Builder, builder
from sbx.lifecycle.save import layer_mounts, layer_paths
from sbx.lifecycle.start import Listener
from sbx.store.paths import Paths
from sbx.store.templates import StoredTemplate
from sbx.system.files import owned_fd
from sbx.system.progress import Progress

_LAYER = "layer.tar"
_CHUNK_BYTES = 4 << 20


def export(
    where: Paths, stored: StoredTemplate, target: Path, *, progress: Progress, listener: Listener
) -> None:
    """Write a template to a new file.

    Raises:
        ConflictError: the file is there already.
        HostError: it cannot be written.
        SbxError: the template cannot be read.
    """
    if target.exists():
        raise ConflictError(f"file already exists: `{target}`", hint="Name another one after -o")
    mounts = layer_mounts(where, stored.layers)
    with builder(where, mounts, progress=progress, listener=listener) as made:
        progress.begin(f"Writing {target.name}")
        what = f"cannot export template `{stored.reference}`"
        made.call("export", {"layers": [*layer_paths(stored.layers)]}, what=what)
        temp = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            _write(made, stored, temp)
            temp.replace(target)
        except OSError as error:
            raise HostError(f"cannot write `{target}`: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                temp.unlink()
        progress.end()


def _write(made: Builder, stored: StoredTemplate, temp: Path) -> None:
    """Our own few members around the builder's archive, which is copied and not looked into."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        source = os.open(made.out / _LAYER, flags)
    except OSError as error:
        raise PermanentError(f"nothing was made: {error.strerror}") from error
    with owned_fd(source), temp.open("xb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        facts = os.fstat(source)
        if not stat.S_ISREG(facts.st_mode):
            raise PermanentError("what was made is no file")
        reader = _Reader(source, facts.st_size)
        member = tarfile.TarInfo("layer/layer.tar")
        member.size, member.mode = facts.st_size, 0o644
        tar.addfile(member, reader)
        config = image_config(stored, f"sha256:{reader.digest.hexdigest()}")
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = [{
            "Config": name, "RepoTags": [_tag(stored)], "Layers": ["layer/layer.tar"],
        }]  # fmt: skip
        for path, data in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))


def image_config(stored: StoredTemplate, *diff_ids: str) -> bytes:
    """The configuration of an image with these layers."""
    document = {
        "architecture": ARCHITECTURE,
        "os": SYSTEM,
        "created": stored.created_at.isoformat().replace("+00:00", "Z"),
        "config": {
            "User": stored.user,
            "WorkingDir": stored.workdir,
            "Env": [f"{name}={value}" for name, value in sorted(stored.env.items())],
            "Cmd": list(stored.command),
            "Labels": dict(stored.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    return json.dumps(document, sort_keys=True).encode()


def _tag(stored: StoredTemplate) -> str:
    """As docker writes it: without what it adds itself."""
    return stored.reference.removeprefix("docker.io/").removeprefix("library/")


class _Reader(io.RawIOBase):
    """A file's bytes, and their digest when all were read."""

    def __init__(self, fd: int, size: int) -> None:
        self.digest = hashlib.sha256()
        self._fd = fd
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = os.read(self._fd, min(wanted, _CHUNK_BYTES)) if wanted else b""
        self._left -= len(data)
        self.digest.update(data)
        return data
