# SPDX-License-Identifier: Apache-2.0
"""`sbx template save DIR` as far as it goes without a builder."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Call


def test_a_folder_needs_a_dockerfile_and_no_tag(sbx: Call, tmp_path: Path) -> None:
    done = sbx("template", "save", str(tmp_path))
    assert done.status == 1
    assert f"no Dockerfile in `{tmp_path}`" in done.err


def test_a_sandbox_needs_a_tag(sbx: Call) -> None:
    done = sbx("template", "save", "box")
    assert done.status == 1
    assert "the template needs a tag" in done.err


def test_what_only_a_dockerfile_has_is_refused_for_a_sandbox(sbx: Call) -> None:
    for words in (("--target", "stage"), ("--build-arg", "A=b")):
        done = sbx("template", "save", "box", "x", *words)
        assert done.status == 1
        assert "are for a folder with a Dockerfile" in done.err


def test_a_name_of_ours_is_refused(sbx: Call, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM opensbx/shell\n")
    done = sbx("template", "save", str(tmp_path), "opensbx/shell")
    assert done.status == 1
    assert "is a name of our own templates" in done.err


def test_an_agent_that_is_not_known_is_named(sbx: Call, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM opensbx/nobody\n")
    done = sbx("template", "save", str(tmp_path), "x")
    assert done.status == 1
    assert 'template not found: "opensbx/nobody"' in done.err
