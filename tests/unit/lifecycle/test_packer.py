# SPDX-License-Identifier: Apache-2.0
"""The script that runs in a builder, as far as it needs neither root nor its tools."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from sbx.lifecycle import packer
from tests.kit.images import LayerTar


def test_members_links_and_documents(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    tar = LayerTar().file("./a.json", b"{}").file("b", b"[1]").file("c", b"text")
    path.write_bytes(tar.link("d/e", "../c").hard_link("f", "c").done())
    found = packer.do_list({"path": str(path)})
    assert set(found["files"]) == {"a.json", "b", "c"}
    offset, size = found["files"]["c"]
    assert path.read_bytes()[offset : offset + size] == b"text"
    assert found["links"] == {"d/e": "c", "f": "c"}
    assert set(found["documents"]) == {"a.json", "b"}


@pytest.mark.parametrize("data", [b"", b"hello\n"])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(packer.Wrong):
        packer.do_list({"path": str(path)})


def test_archive_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(LayerTar().file("a", b"x" * 5000).done()[:3000])
    with pytest.raises(packer.Wrong, match=r"cut off|not a whole"):
        packer.do_list({"path": str(path)})


def test_a_part_of_a_file_is_handed_over_and_digested(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"head" + b"body" * 1000 + b"tail")
    for digest in (None, hashlib.sha256()):
        read, write = os.pipe()
        with packer.opened(str(path), 4, 4000) as (fd, size):
            assert packer.copy(fd, write, size, digest) == 4000
        os.close(write)
        with os.fdopen(read, "rb") as file:
            assert file.read() == b"body" * 1000
        if digest is not None:
            assert digest.hexdigest() == hashlib.sha256(b"body" * 1000).hexdigest()


def test_a_reader_that_never_finds_the_end_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    for reads_all in (True, False):
        read, write = os.pipe()

        def take(fd: int = read, *, reads_all: bool = reads_all) -> None:
            with os.fdopen(fd, "rb") as file:
                file.read(-1 if reads_all else 3)

        reader = threading.Thread(target=take)
        reader.start()
        with path.open("rb") as file:
            assert packer.pour(file.fileno(), write, 3, None) is not reads_all
        os.close(write)
        reader.join()


def test_folders_before_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(packer.folders({"tmp": 0o1777, "": 0o755}) + LayerTar().file("a").done())
    with tarfile.open(path) as tar:
        assert [(m.name, m.mode, m.isdir()) for m in tar] == [
            (".", 0o755, True), ("./tmp", 0o1777, True), ("a", 0o644, False),
        ]  # fmt: skip


def test_shells(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to("nowhere")
    assert packer.shells(str(tmp_path)) == ["/bin/sh"]


def test_only_folders_that_were_made_up(tmp_path: Path) -> None:
    for name, mode, time in (
        ("up", 0o777, packer.TIME), ("own", 0o777, 5), ("tmp", 0o777, packer.TIME),
        ("closed", 0o755, packer.TIME),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        os.utime(tmp_path / name, (time, time))
    assert packer.made_up(str(tmp_path)) == {"up": 0o755, "tmp": 0o1777}


def test_upper_folders_are_put_together(tmp_path: Path) -> None:
    upper, below = tmp_path / "upper", tmp_path / "below"
    (upper / "both").mkdir(parents=True)
    (upper / "both/new").write_text("new")
    (upper / "file").write_text("over")
    (upper / "folder").mkdir()
    (below / "both").mkdir(parents=True)
    (below / "both/old").write_text("old")
    (below / "file").write_text("under")
    (below / "folder").write_text("was a file")
    (below / "kept").write_text("kept")
    (upper / "both").chmod(0o711)
    packer.merge(str(upper), str(below))
    assert sorted(p.name for p in (below / "both").iterdir()) == ["new", "old"]
    assert (below / "both").stat().st_mode & 0o777 == 0o711
    assert (below / "file").read_text() == "over"
    assert (below / "folder").is_dir()
    assert (below / "kept").read_text() == "kept"


def test_names_of_earlier_templates_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, ours = tmp_path / "image/overlay2/repositories.json", tmp_path / "ours.json"
    monkeypatch.setattr(packer, "_ENGINE", str(tmp_path))
    monkeypatch.setattr(packer, "_REPOSITORIES", str(names))
    monkeypatch.setattr(packer, "_OURS", str(ours))
    pulled = {"site.test:5000/x": {"site.test:5000/x:1": "sha256:1"}}
    names.parent.mkdir(parents=True)
    names.write_text(json.dumps({"Repositories": pulled}))
    for tag in ("opensbx/shell:latest", "mine:1"):
        packer.do_prepare({"images": [{"tags": [tag], "config": "{}", "layers": []}]})
        known = json.loads(names.read_text())["Repositories"]
        digest = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
        assert known == {**pulled, tag.rpartition(":")[0]: {tag: digest}}
    packer.do_prepare({"images": []})
    assert json.loads(names.read_text())["Repositories"] == pulled
