# SPDX-License-Identifier: Apache-2.0
"""What a kit may hold, however it is loaded."""

from __future__ import annotations

import pytest

from sbx.kit import bundle
from sbx.kit.bundle import Bundle, BundleBuilder, KitFile
from sbx.kit.findings import KitError


@pytest.fixture(name="builder")
def _builder() -> BundleBuilder:
    found = BundleBuilder("k")
    found.add("spec.yaml", b"s")
    return found


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "files/../../a", "files\\home\\a", "a\0b", "", ".", "f/" * 600]
)
def test_a_name_that_leads_out_or_is_none(builder: BundleBuilder, name: str) -> None:
    with pytest.raises(KitError, match="entry"):
        builder.add(name, b"")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("files/home/a", "/etc/passwd"), ("files/home/a", "../../../x"), ("files/home/a", ".."),
        ("files/home/a", "../workspace/x"), ("files/home/d/a", "../../x"),
        ("files/home/a", "b/../../c"),
    ],
)  # fmt: skip
def test_a_link_that_leads_out(builder: BundleBuilder, name: str, target: str) -> None:
    with pytest.raises(KitError, match="leads out"):
        builder.add_link(name, target)


@pytest.mark.parametrize("target", ["b", "d/e", "./b", "d/../b"])
def test_a_link_that_stays(builder: BundleBuilder, target: str) -> None:
    builder.add_link("files/home/a", target)
    builder.add_link("files/home/d/x", f"../{target}")
    assert builder.finish().files["files/home/a"].link == target


def test_a_file_below_a_link_or_another_file(builder: BundleBuilder) -> None:
    builder.add_link("files/home/a", "b")
    builder.add("files/home/a/c", b"")
    with pytest.raises(KitError, match="is no folder"):
        builder.finish()


def test_files_lie_below_home_and_workspace(builder: BundleBuilder) -> None:
    builder.add("files/etc/passwd", b"")
    with pytest.raises(KitError, match="neither below files/home nor files/workspace"):
        builder.finish()


def test_what_lies_beside_is_left_out(builder: BundleBuilder) -> None:
    builder.add("README.md", b"r")
    builder.add("src/main.c", b"")
    builder.add(".git/config", b"")
    assert set(builder.finish().files) == {"README.md"}


def test_nothing_is_there_twice(builder: BundleBuilder) -> None:
    with pytest.raises(KitError, match="is there twice"):
        builder.add("./spec.yaml", b"other")


def test_sizes_and_numbers_are_bounded(
    builder: BundleBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "MAX_FILE_BYTES", 10)
    monkeypatch.setattr(bundle, "MAX_TOTAL_BYTES", 15)
    monkeypatch.setattr(bundle, "MAX_FILES", 3)
    with pytest.raises(KitError, match="too large"):
        builder.add("files/home/a", b"x" * 11)
    builder.add("files/home/b", b"x" * 10)
    with pytest.raises(KitError, match="too large"):
        builder.add("files/home/c", b"x" * 5)
    builder.add("files/home/d", b"")
    with pytest.raises(KitError, match="one too many"):
        builder.add("files/home/e", b"")


def test_without_a_spec_it_is_no_kit() -> None:
    with pytest.raises(KitError, match=r"has no spec\.yaml"):
        BundleBuilder("k").finish()
    linked = BundleBuilder("k")
    with pytest.raises(KitError, match="leads out"):
        linked.add_link("spec.yaml", "x")


def test_the_digest_tells_names_modes_and_bytes_apart() -> None:
    kinds = [
        {}, {"files/home/a": KitFile(b"")}, {"files/home/b": KitFile(b"")},
        {"files/home/a": KitFile(b"x")}, {"files/home/a": KitFile(b"", executable=True)},
        {"files/home/a": KitFile(b"", link="b")},
    ]  # fmt: skip
    assert len({Bundle(spec=b"s", files=files).digest for files in kinds}) == len(kinds)
