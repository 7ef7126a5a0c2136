# SPDX-License-Identifier: Apache-2.0
"""Names of templates, and what an image's configuration makes of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.image.oci import ImageConfig
from sbx.lifecycle import base
from sbx.lifecycle import templates as naming
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredLayer, StoredTemplate
from tests.unit.store.test_templates import one

LAYER = StoredLayer(digest="d" * 64, size_bytes=1, shells=("/bin/sh",))


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    return Paths(
        state=tmp_path / "opensbx",
        config=tmp_path / "config/opensbx",
        cache=tmp_path / "k",
        runtime=tmp_path / "r",
    )


def made(**config: object) -> StoredTemplate:
    found = ImageConfig(**config)  # type: ignore[arg-type]  # the fields of each test
    return naming.make("x:1", image_id="i", origin=Origin.LOADED, config=found, layers=(LAYER,))


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("x", "docker.io/library/x:latest"),
        ("team/x:1", "docker.io/team/x:1"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("r.example/x@sha256:" + "a" * 64, "r.example/x@sha256:" + "a" * 64),
    ],
)
def test_full_reference(typed: str, full: str) -> None:
    assert naming.full_reference(typed) == full
    assert naming.has_registry(typed) is (full == typed)


@pytest.mark.parametrize("text", ["shell", "opensbx/x", "docker.io/opensbx/claude:1", "Not a tag"])
def test_tags_that_nobody_may_take(text: str) -> None:
    with pytest.raises(UserError):
        naming.check_tag(text)


def test_folder_tag() -> None:
    assert naming.folder_tag("My Project_2") == "my-project-2"
    with pytest.raises(UserError):
        naming.folder_tag("___")


def test_defaults_of_an_image_that_says_nothing() -> None:
    found = made()
    assert (found.user, found.workdir) == ("agent", "/home/agent/workspace")
    assert found.command == ("/bin/sh",)
    assert made(workdir="/").workdir == "/home/agent/workspace"


def test_what_an_image_says_is_honoured() -> None:
    found = made(
        user="0", workdir="/w", env={"A": "1"}, entrypoint=("/e",), command=("c",),
        labels={naming.FLAVOR: "claude"},
    )  # fmt: skip
    assert (found.user, found.workdir, found.env) == ("0", "/w", {"A": "1"})
    assert (found.command, found.flavor) == (("/e", "c"), "claude")


def test_finding_by_tag_and_by_id(where: Paths) -> None:
    templates.write(where, one())
    templates.write(where, one("docker.io/library/y:1", "sha256:abcd11"))
    assert naming.find_any(where, "x:1") == (one(),)
    assert naming.find_any(where, "abcdef") == (one(),)
    with pytest.raises(ConflictError, match="several templates begin with"):
        naming.find_any(where, "abcd")
    with pytest.raises(NotFoundError, match='template not found: "nothing"'):
        naming.find_any(where, "nothing")


def test_taken_tag(where: Paths) -> None:
    templates.write(where, one())
    naming.check_free(where, one().reference, image_id=one().id)  # the same image once more
    for image_id in ("", "sha256:00"):
        with pytest.raises(ConflictError, match="already exists"):
            naming.check_free(where, one().reference, image_id=image_id)


def test_layers_that_templates_need(where: Paths) -> None:
    templates.write(where, one())
    assert base.installations(where) == (where,)
    assert base.layer_digests((where,)) == {"d" * 64}
    assert naming.users_of((where,), one()) == ()
