# SPDX-License-Identifier: Apache-2.0
"""The documents of images: what is taken from them, and what is refused."""

from __future__ import annotations

import json

import pytest

from sbx.errors import UserError
from sbx.image import oci

DIGEST = "sha256:" + "a" * 64
LAYER = {"mediaType": "x", "digest": DIGEST, "size": 5}


def test_manifest() -> None:
    found = oci.parse_manifest({"config": LAYER, "layers": [LAYER, LAYER]})
    assert found.config == oci.Descriptor(digest=DIGEST, size_bytes=5, media_type="x")
    assert len(found.layers) == 2


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"config": LAYER, "layers": []},
        {"config": LAYER, "layers": "x"},
        {"config": LAYER, "layers": [LAYER] * 128},
        {"config": None, "layers": [LAYER]},
        {"config": LAYER, "layers": [{**LAYER, "digest": "sha256:../../etc/passwd"}]},
        {"config": LAYER, "layers": [{**LAYER, "size": -1}]},
        {"config": LAYER, "layers": [{**LAYER, "size": "5"}]},
    ],
)
def test_what_is_no_manifest(document: dict[str, object]) -> None:
    with pytest.raises(UserError, match="not an image that can be used"):
        oci.parse_manifest(document)


def test_the_manifest_of_this_machine_is_chosen() -> None:
    arm = {**LAYER, "platform": {"os": "linux", "architecture": "arm64"}}
    ours = {**LAYER, "size": 7, "platform": {"os": "linux", "architecture": "amd64"}}
    chosen, name = oci.choose_manifest({"manifests": [arm, ours]})
    assert (chosen.size_bytes, name) == (7, "")
    with pytest.raises(UserError, match=r"not made for linux/amd64; it has: linux/arm64"):
        oci.choose_manifest({"manifests": [arm]})


def test_a_layout_names_its_image() -> None:
    entry = {**LAYER, "annotations": {"org.opencontainers.image.ref.name": "x:1"}}
    assert oci.choose_manifest({"manifests": [entry]})[1] == "x:1"


def test_configuration() -> None:
    inner = {
        "User": "me", "WorkingDir": "/w", "Env": ["A=1", "B=x=y", "odd"], "Cmd": ["c"],
        "Entrypoint": ["e", 5], "Labels": {"l": "v", "n": 1},
    }  # fmt: skip
    found = oci.parse_config(
        {"architecture": "amd64", "os": "linux", "config": inner, "rootfs": {"diff_ids": [DIGEST]}}
    )
    assert found == oci.ImageConfig(
        user="me", workdir="/w", env={"A": "1", "B": "x=y"}, entrypoint=("e",), command=("c",),
        labels={"l": "v"}, diff_ids=(DIGEST,),
    )  # fmt: skip


def test_configuration_of_another_machine() -> None:
    with pytest.raises(UserError, match="made for linux/arm64, this machine is linux/amd64"):
        oci.parse_config({"architecture": "arm64", "os": "linux"})


def test_saved_images() -> None:
    entry = {"Config": "c.json", "Layers": ["l/layer.tar"], "RepoTags": None}
    assert oci.parse_saved(json.dumps([entry])) == (
        oci.SavedImage(config="c.json", layers=("l/layer.tar",), tags=()),
    )
    for text in ("", "[]", "{}", "[1]", '[{"Config": "c", "Layers": []}]'):
        with pytest.raises(UserError):
            oci.parse_saved(text)


def test_chain_depends_on_every_layer_and_their_order() -> None:
    one, two = oci.digest_of(b"1"), oci.digest_of(b"2")
    assert oci.chain([one]) == one
    assert len({oci.chain([one, two]), oci.chain([two, one]), oci.chain([one]), two}) == 4
