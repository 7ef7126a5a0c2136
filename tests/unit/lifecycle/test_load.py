# SPDX-License-Identifier: Apache-2.0
"""Images in an archive, as a builder describes it: found, and checked against their digests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.lifecycle.builder import INPUT
from sbx.lifecycle.load import Archive, find_images, sources_of
from sbx.lifecycle.packer import do_list
from tests.kit.images import Image, LayerTar, digest, docker_archive, oci_archive

LAYERS = (LayerTar().file("a", b"1").done(), LayerTar().file("b", b"2").done())
IMAGE = Image(layers=LAYERS, config={"User": "me"})


def described(folder: Path, data: bytes) -> tuple[Archive, Path]:
    """As the builder's script describes it, which runs here for that."""
    path = folder / "image.tar"
    path.write_bytes(data)
    import base64

    found = do_list({"path": str(path)})
    assert found["path"] == str(path)
    documents = {name: base64.b64decode(text) for name, text in found["documents"].items()}
    files, links = found["files"], found["links"]
    return Archive(path=INPUT, files=files, links=links, documents=documents), path


@pytest.mark.parametrize("write", [docker_archive, oci_archive])
def test_image_in_an_archive(tmp_path: Path, write: object) -> None:
    if write is docker_archive:
        data = docker_archive(IMAGE, ["x:1", "y"])
    else:
        data = oci_archive(IMAGE, "x:1")
    archive, path = described(tmp_path, data)
    (found,) = find_images(archive)
    assert found.id == digest(IMAGE.document)
    assert found.config.user == "me"
    assert found.tags[0] == "x:1"
    sources = sources_of(archive, found, file=path)
    assert [bool(one.digest) for one in sources] == [True, True]
    if write is docker_archive:
        assert [one.digest for one in sources] == [digest(layer) for layer in LAYERS]


def test_a_link_to_a_layer_is_followed(tmp_path: Path) -> None:
    archive, path = described(tmp_path, docker_archive(IMAGE, ["x"]))
    (found,) = find_images(archive)
    first, second = found.layers
    links = {first: second}
    linked = Archive(
        path=archive.path, files=archive.files, links=links, documents=archive.documents
    )
    assert linked.follow(first) == second
    # It is another layer now than the configuration says: left for the builder to check.
    assert sources_of(linked, found, file=path)[0].digest == ""
    assert sources_of(linked, found, file=path)[0].diff_id == digest(LAYERS[0])


def test_links_in_a_circle_lead_nowhere() -> None:
    archive = Archive(path=INPUT, files={}, links={"a": "b", "b": "a"}, documents={})
    with pytest.raises(UserError, match="it has no `a`"):
        archive.document("a")


def test_damaged_layer(tmp_path: Path) -> None:
    data = bytearray(oci_archive(IMAGE, "x"))
    at = data.index(b"\x1f\x8b")
    data[at + 12] ^= 1
    archive, path = described(tmp_path, bytes(data))
    (found,) = find_images(archive)
    with pytest.raises(UserError, match="is damaged"):
        sources_of(archive, found, file=path)


def test_damaged_configuration(tmp_path: Path) -> None:
    data = docker_archive(IMAGE, ["x"]).replace(b'"User": "me"', b'"User": "us"')
    with pytest.raises(UserError, match="its configuration is damaged"):
        find_images(described(tmp_path, data)[0])


def test_archive_of_something_else(tmp_path: Path) -> None:
    archive, _path = described(tmp_path, LayerTar().file("x", b"{}").done())
    with pytest.raises(UserError, match=r"neither manifest\.json nor index\.json"):
        find_images(archive)


def test_archive_without_its_layer(tmp_path: Path) -> None:
    archive, path = described(tmp_path, docker_archive(IMAGE, ["x"]))
    without = Archive(path=INPUT, files={}, links={}, documents=archive.documents)
    with pytest.raises(UserError, match="it has no"):
        sources_of(without, find_images(archive)[0], file=path)


def test_image_of_another_machine(tmp_path: Path) -> None:
    other = Image(layers=LAYERS, architecture="arm64")
    with pytest.raises(UserError, match="made for linux/arm64"):
        find_images(described(tmp_path, docker_archive(other, ["x"]))[0])


def test_compressed_archive_is_seen_as_such() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz"):
        pass
    from sbx.lifecycle.packer import compression

    assert compression(out.getvalue()[:8]) == "gzip"
    assert compression(LAYERS[0][:8]) == ""
