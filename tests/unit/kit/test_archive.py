# SPDX-License-Identifier: Apache-2.0
"""Archives: what is written can be read, and what is hostile is refused before it costs much."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.kit import archive, bundle
from sbx.kit.archive import parse_archive, to_tar_gz, to_zip
from sbx.kit.bundle import Bundle, KitFile
from sbx.kit.findings import KitError

KIT = Bundle(
    spec=b"name: x\n",
    files={
        "README.md": KitFile(b"read"),
        "files/home/bin/tool": KitFile(b"#!/bin/sh\n", executable=True),
        "files/home/link": KitFile(b"", link="bin/tool"),
        "files/workspace/ä": KitFile(bytes(range(256))),
    },
)


@pytest.mark.parametrize("write", [to_zip, to_tar_gz])
def test_what_is_written_is_read_and_equal_kits_give_equal_bytes(
    write: Callable[[Bundle], bytes],
) -> None:
    data = write(KIT)
    assert parse_archive(data, what="k") == KIT
    shuffled = Bundle(spec=KIT.spec, files=dict(reversed(list(KIT.files.items()))))
    assert write(shuffled) == data


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for info, data in entries:
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(name: str, data: bytes, mode: int = stat.S_IFREG | 0o644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "info",
    [
        entry("../a"), entry("/etc/passwd"), entry("files/home/../../../a"),
        entry("files/home/a", tarfile.SYMTYPE, "/etc/passwd"),
        entry("files/home/a", tarfile.SYMTYPE, "../../../a"),
        entry("files/home/a", tarfile.LNKTYPE, "spec.yaml"),
        entry("files/home/a", tarfile.CHRTYPE), entry("files/home/a", tarfile.FIFOTYPE),
        entry("../d", tarfile.DIRTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type!r}-{info.linkname}",
)  # fmt: skip
def test_a_tar_entry_that_leads_out_or_is_no_file(info: tarfile.TarInfo) -> None:
    with pytest.raises(KitError, match="entry"):
        parse_archive(tar((entry("spec.yaml"), b"s"), (info, b"")), what="k")


@pytest.mark.parametrize(
    "data",
    [
        zipped("../a", b""), zipped("/etc/passwd", b""), zipped("a\\..\\..\\b", b""),
        zipped("files/home/a", b"/etc/passwd", stat.S_IFLNK | 0o777),
        zipped("files/home/a", b"../../x", stat.S_IFLNK | 0o777),
        zipped("files/home/a", b"", stat.S_IFIFO | 0o644),
    ],
)  # fmt: skip
def test_a_zip_entry_that_leads_out_or_is_no_file(data: bytes) -> None:
    with pytest.raises(KitError, match="entry"):
        parse_archive(data, what="k")


def test_bombs_are_refused() -> None:
    huge = b"\0" * (bundle.MAX_FILE_BYTES + 1)
    for data in (
        zipped("files/home/a", huge),
        tar((entry("files/home/a"), huge)),
        gzip.compress(b"\0" * (90 << 20), 1),
    ):
        assert len(data) < 1 << 20
        with pytest.raises(KitError):
            parse_archive(data, what="k")


def test_a_zip_with_a_huge_table_of_contents_is_refused_unread() -> None:
    data = bytearray(to_zip(KIT))
    struct.pack_into("<I", data, len(data) - 22 + 12, 5 << 20)
    with pytest.raises(KitError, match="too many entries"):
        parse_archive(bytes(data), what="k")


def test_an_encrypted_zip_is_refused() -> None:
    data = to_zip(KIT)
    at = data.index(b"PK\1\2") + 8
    with pytest.raises(KitError, match="encrypted"):
        parse_archive(data[:at] + b"\1\0" + data[at + 2 :], what="k")


def test_something_else_is_refused() -> None:
    for data in (b"", b"hello", b"\x1f\x8b", b"PK\3\4", to_zip(KIT)[:-30], to_tar_gz(KIT)[:60]):
        with pytest.raises(KitError):
            parse_archive(data, what="k")


@given(st.binary(max_size=400), st.integers(0, 400))
def test_damage_is_an_error_and_nothing_else(noise: bytes, at: int) -> None:
    for data in (to_zip(KIT), to_tar_gz(KIT)):
        with contextlib.suppress(KitError):
            parse_archive(data[:at] + noise + data[at + len(noise) :], what="k")


def test_a_file_that_is_too_large_is_not_read(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_ARCHIVE_BYTES", 10)
    path = tmp_path_factory.mktemp("a") / "k.zip"
    path.write_bytes(to_zip(KIT))
    with pytest.raises(Exception, match="larger than 10 bytes"):
        archive.read_archive(path, what="k")
