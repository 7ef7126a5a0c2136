# SPDX-License-Identifier: Apache-2.0
"""EROFS layers by digest: `<cache>/layers/<digest>.erofs`, each with a stamp beside it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Generator
from pathlib import Path

from sbx.errors import HostError, PermanentError
from sbx.image.cache import remove_tree, tree_bytes
from sbx.sandbox.parts import Layer
from sbx.system.files import (
    allocated_bytes,
    owned_fd,
    private_folder,
    read_bounded,
    sha256_file,
    sync_folder,
    write_atomic,
)
from sbx.system.locks import hold_lock

KIND = "layers"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".erofs"
_TEMP = "temp-"
_DAMAGED = "damaged-"
_CHUNK_BYTES = 64 << 20
_MAGIC_OFFSET, _MAGIC = 1024, b"\xe2\xe1\xf5\xe0"  # of an EROFS superblock


class LayerShelf:
    """The layers in one cache folder."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / KIND

    def path(self, digest: str) -> Path:
        """Where the layer lies (ValueError: that is no digest)."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a digest: {digest!r}")
        return self._folder / f"{digest}{_SUFFIX}"

    @contextlib.contextmanager
    def working_folder(self) -> Generator[Path]:
        """A folder for the making of one layer; what broken-off builds left is removed."""
        private_folder(self._folder)
        with hold_lock(self._folder / ".lock"):
            self._clean()
            folder = private_folder(self._folder / f"{_TEMP}{secrets.token_hex(4)}")
            try:
                yield folder
            finally:
                remove_tree(folder)

    def adopt(self, image: Path) -> Layer:
        """Take over a complete image from the working folder."""
        image.chmod(0o600)
        with image.open("rb") as file:
            os.fsync(file.fileno())
        digest = sha256_file(image)
        target = self.path(digest)
        image.rename(target)
        sync_folder(self._folder)
        self._write_stamp(target)
        return Layer(digest=digest, path=target, size_bytes=target.stat().st_size)

    def take_copy(self, made: Path, *, limit_bytes: int) -> Layer:
        """A layer of a file that others may still write to: what is copied is what counts.

        Raises:
            PermanentError: it is no regular file, no EROFS image or too large.
        """
        with self.working_folder() as work:
            target = work / "layer.erofs"
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                source = os.open(made, flags)
            except OSError as error:
                raise PermanentError(f"no layer was made: {error.strerror}") from error
            with owned_fd(source), target.open("xb") as file:
                if not stat.S_ISREG(os.fstat(source).st_mode):
                    raise PermanentError("what was made is no file")
                taken = 0
                while moved := os.copy_file_range(source, file.fileno(), _CHUNK_BYTES):
                    taken += moved
                    if taken > limit_bytes:
                        raise PermanentError(f"the layer is larger than {limit_bytes >> 30} GiB")
            with target.open("rb") as file:
                if file.read(_MAGIC_OFFSET + 4)[_MAGIC_OFFSET:] != _MAGIC:
                    raise PermanentError("what was made is no EROFS image")
            return self.adopt(target)

    def is_whole(self, layer: Layer, *, full: bool) -> bool:
        """Whether the layer is there as it was made; a damaged one is set aside."""
        try:
            facts = layer.path.stat()
        except OSError:
            return False
        if facts.st_size == layer.size_bytes:
            if not full and self._read_stamp(layer.path) == _stamp(facts):
                return True
            if sha256_file(layer.path) == layer.digest:
                self._write_stamp(layer.path)
                return True
        with contextlib.suppress(OSError):
            layer.path.rename(self._folder / f"{_DAMAGED}{secrets.token_hex(4)}")
        return False

    def find(self, digest: str) -> Layer | None:
        """The layer with this digest, or None if it is absent or damaged."""
        try:
            path = self.path(digest)
            layer = Layer(digest=digest, path=path, size_bytes=path.stat().st_size)
        except OSError:
            return None
        return layer if self.is_whole(layer, full=False) else None

    def digests(self) -> tuple[str, ...]:
        """All layers there are."""
        return tuple(sorted(path.stem for path in self._folder.glob(f"*{_SUFFIX}")))

    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Digest and disk space of each layer."""
        return tuple((each, allocated_bytes(self.path(each))) for each in self.digests())

    def prune(self, keep: frozenset[str]) -> int:
        """Remove the layers that are not in `keep`, and leftovers; returns the bytes freed."""
        if not self._folder.is_dir():
            return 0
        before = tree_bytes(self._folder)
        with hold_lock(self._folder / ".lock"):
            self._clean()
            for digest in self.digests():
                if digest not in keep:
                    self.path(digest).unlink(missing_ok=True)
                    self._stamp_path(self.path(digest)).unlink(missing_ok=True)
        return max(0, before - tree_bytes(self._folder))

    def remove(self, digests: frozenset[str]) -> int:
        """Remove layers; returns the bytes freed."""
        freed = 0
        for digest in digests:
            path = self.path(digest)
            with contextlib.suppress(FileNotFoundError):
                size = allocated_bytes(path)
                path.unlink()
                freed += size
            self._stamp_path(path).unlink(missing_ok=True)
        return freed

    def _clean(self) -> None:
        for path in self._folder.glob(f"{_TEMP}*"):
            remove_tree(path)
        for path in self._folder.glob(f"{_DAMAGED}*"):
            path.unlink(missing_ok=True)

    def _stamp_path(self, image: Path) -> Path:
        return image.with_suffix(".stamp")

    def _read_stamp(self, image: Path) -> str | None:
        try:
            return read_bounded(self._stamp_path(image), limit_bytes=4096).decode(errors="replace")
        except (OSError, HostError):
            return None

    def _write_stamp(self, image: Path) -> None:
        with contextlib.suppress(HostError, OSError):  # without one the next reader takes longer
            write_atomic(self._stamp_path(image), _stamp(image.stat()).encode())


def _stamp(facts: os.stat_result) -> str:
    # The change time and not the modification time: no program can set it back.
    return f"{facts.st_size} {facts.st_ctime_ns}"
