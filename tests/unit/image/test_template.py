# SPDX-License-Identifier: Apache-2.0
"""Templates: the stored form, what is stale, and what lies on damaged layers."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.image.layers import LayerShelf
from sbx.image.template import (
    SHELL,
    TemplateShelf,
    key,
    make_template,
    parse,
    parse_status,
    read_versions,
    render,
)
from sbx.sandbox.parts import Template

STATUS = """\
Package: git
Status: install ok installed
Version: 1:2.47.3-0+deb13u1
Description: fast, scalable
 Package: not a field

Package: jq
Version: 1.7.1-6
"""


@pytest.fixture
def stored(tmp_path: Path) -> Template:
    layers = LayerShelf(tmp_path)
    with layers.working_folder() as folder:
        (folder / "layer").write_bytes(b"layer" * 1000)
        template = make_template((layers.adopt(folder / "layer"),), {"git": "1:2.47"})
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/shell.json").write_bytes(render(template, key()))
    return template


def test_round_trip(stored: Template, tmp_path: Path) -> None:
    assert parse(render(stored, "k"), LayerShelf(tmp_path)) == ("k", stored)
    assert TemplateShelf(tmp_path).find(SHELL) == stored
    assert TemplateShelf(tmp_path).find(SHELL, full=True) == stored
    assert TemplateShelf(tmp_path).names() == (SHELL,)


def test_template_of_other_inputs_is_stale(stored: Template, tmp_path: Path) -> None:
    (tmp_path / "templates/shell.json").write_bytes(render(stored, "other inputs"))
    assert TemplateShelf(tmp_path).find(SHELL) is None


def test_damaged_layer_makes_the_template_absent(stored: Template, tmp_path: Path) -> None:
    stored.layers[0].path.write_bytes(b"LAYER" * 1000)
    assert TemplateShelf(tmp_path).find(SHELL) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "\xff", '{"version": 1}'])
def test_spoilt_file_makes_the_template_absent(stored: Template, tmp_path: Path, text: str) -> None:
    assert stored.name == SHELL
    (tmp_path / "templates/shell.json").write_text(text, encoding="latin-1")
    shelf = TemplateShelf(tmp_path)
    assert shelf.find(SHELL) is None
    assert shelf.layer_digests() == frozenset()


@pytest.mark.parametrize("name", ["missing", "../templates/shell", "a/b", ""])
def test_unknown_names(stored: Template, tmp_path: Path, name: str) -> None:
    assert stored.name == SHELL
    assert TemplateShelf(tmp_path).find(name) is None


@pytest.mark.parametrize("digest", ["../../etc/passwd", "A" * 64, ""])
def test_layer_digests_are_checked(stored: Template, tmp_path: Path, digest: str) -> None:
    document = json.loads(render(stored, key()))
    document["layers"][0]["digest"] = digest
    with pytest.raises(ValueError, match="digest"):
        parse(json.dumps(document).encode(), LayerShelf(tmp_path))


def test_versions_from_dpkg_status(tmp_path: Path) -> None:
    assert parse_status(STATUS) == {"git": "1:2.47.3-0+deb13u1", "jq": "1.7.1-6"}
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("./var/lib/dpkg/status")
        member.size = len(STATUS)
        tar.addfile(member, io.BytesIO(STATUS.encode()))
    assert read_versions(archive)["jq"] == "1.7.1-6"


def test_archive_without_status(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w"):
        pass
    with pytest.raises(PermanentError, match="dpkg status"):
        read_versions(tmp_path / "root.tar")
