# SPDX-License-Identifier: Apache-2.0
"""A kit in a .zip or .tar.gz: read from memory within bounds, never unpacked; and written.

Equal kits give equal bytes: names are sorted, times and owners are fixed.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from sbx.kit.bundle import MAX_TOTAL_BYTES, Bundle, BundleBuilder, KitFile
from sbx.kit.findings import SPEC, KitError
from sbx.system.files import read_bounded

MAX_ARCHIVE_BYTES = 64 << 20
_MAX_DIRECTORY_BYTES = 4 << 20  # of a zip: what zipfile reads at once
_MAX_TAR_BYTES = MAX_TOTAL_BYTES + (16 << 20)  # with headers
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can tell
_END, _LOCATOR = b"PK\5\6", b"PK\6\7"
_END_BYTES, _LOCATOR_BYTES = 22, 20


def read_archive(path: Path, *, what: str) -> Bundle:
    """The kit in an archive file, its kind told by its first bytes.

    Raises:
        KitError: it cannot be read, is no such archive, or holds what no kit may.
    """
    try:
        data = read_bounded(path, limit_bytes=MAX_ARCHIVE_BYTES)
    except OSError as error:
        raise KitError(f"cannot read kit `{what}`: {error.strerror}") from error
    return parse_archive(data, what=what)


def parse_archive(data: bytes, *, what: str) -> Bundle:
    """The kit in the bytes of an archive (raises as `read_archive`)."""
    builder = BundleBuilder(what)
    try:
        if data.startswith(b"PK"):
            _read_zip(data, builder)
        elif data.startswith(b"\x1f\x8b"):
            _read_tar(data, builder)
        else:
            raise KitError(f"kit `{what}` is neither a .zip nor a .tar.gz")
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError,
        NotImplementedError, RuntimeError, struct.error,
    ) as error:  # fmt: skip
        raise KitError(f"kit `{what}` is a damaged archive: {error}") from error
    return builder.finish()


def to_zip(bundle: Bundle) -> bytes:
    """The kit as a .zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, file, mode in _entries(bundle):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # modes are those of Unix
            info.external_attr = mode << 16
            data = file.data if file.link is None else file.link.encode()
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def to_tar_gz(bundle: Bundle) -> bytes:
    """The kit as a .tar.gz."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=buffer, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, file, mode in _entries(bundle):
            info = tarfile.TarInfo(name)
            info.mode = stat.S_IMODE(mode)
            if file.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
            info.size = len(file.data)
            archive.addfile(info, io.BytesIO(file.data))
    return buffer.getvalue()


def _entries(bundle: Bundle) -> Iterator[tuple[str, KitFile, int]]:
    for name, file in sorted({SPEC: KitFile(bundle.spec), **bundle.files}.items()):
        if file.link is not None:
            yield name, file, stat.S_IFLNK | 0o777
        else:
            yield name, file, stat.S_IFREG | (0o755 if file.executable else 0o644)


def _read_zip(data: bytes, builder: BundleBuilder) -> None:
    _check_directory(data, builder)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                builder.check_name(info.filename)
                continue
            if info.flag_bits & 1:
                raise builder.refused(info.filename, "is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise builder.refused(info.filename, "is compressed in a way that is not supported")
            with archive.open(info) as member:
                content = member.read(builder.room() + 1)
            if stat.S_ISLNK(mode):
                builder.add_link(info.filename, content[:4096].decode())
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise builder.refused(info.filename, "is neither file, folder nor link")
            else:
                builder.add(info.filename, content, mode=mode)


def _check_directory(data: bytes, builder: BundleBuilder) -> None:
    """Bound the table of contents before zipfile reads all of it."""
    end = len(data) - _END_BYTES
    if data[end : end + 4] != _END:
        end = data.rfind(_END, max(0, len(data) - _END_BYTES - 0xFFFF))
    if end < 0 or len(data) - end < _END_BYTES:
        raise zipfile.BadZipFile("it has no end")
    (size,) = struct.unpack_from("<I", data, end + 12)
    before = max(0, end - _LOCATOR_BYTES)
    if size > _MAX_DIRECTORY_BYTES or data[before : before + 4] == _LOCATOR:
        raise builder.refused("(table of contents)", "has too many entries")


def _read_tar(data: bytes, builder: BundleBuilder) -> None:
    stream = _Bounded(gzip.GzipFile(fileobj=io.BytesIO(data)), builder)
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
        for info in archive:
            if info.isdir():
                if info.name not in (".", "./"):
                    builder.check_name(info.name)
            elif info.issym():
                builder.add_link(info.name, info.linkname)
            elif info.isreg() and not info.issparse():
                source = archive.extractfile(info)
                assert source is not None
                if info.size > builder.room():
                    raise builder.too_large(info.name)
                builder.add(info.name, source.read(), mode=info.mode)
            else:
                raise builder.refused(info.name, "is neither file, folder nor link")


class _Bounded:
    """Reads an unpacked stream up to a bound."""

    def __init__(self, stream: gzip.GzipFile, builder: BundleBuilder) -> None:
        self._stream = stream
        self._builder = builder
        self._left = _MAX_TAR_BYTES

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise self._builder.too_large("(archive)")
        return data
