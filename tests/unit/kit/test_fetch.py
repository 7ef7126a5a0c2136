# SPDX-License-Identifier: Apache-2.0
"""Where kits may come from, and that a lock file holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.kit.archive import to_zip
from sbx.kit.fetch import Allowed, Fetcher
from sbx.kit.findings import KitError
from sbx.kit.folder import read_folder
from sbx.kit.reference import parse_reference
from tests.unit.kit.kits import MIXIN

COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("ref", "sources", "fits"),
    [
        ("docker.io/a/b:1", ("docker.io/",), True),
        ("a/b:1", ("docker.io/",), True),
        ("ghcr.io/a/b:1", ("docker.io/",), False),
        ("docker.io/a/b:1", ("docker.io/a",), True),
        ("docker.io/a-evil/b:1", ("docker.io/a",), False),
        ("docker.io.evil.com/a/b:1", ("docker.io",), False),
        ("docker.io/a/b:1", (), False),
        ("docker.io/a/b:1", ("",), False),
        (f"git+https://h.com/a/b#ref={COMMIT}", ("docker.io/",), False),
        (f"git+https://h.com/a/b#ref={COMMIT}", ("git+https://h.com/a/",), True),
        (f"git+https://h.com/a/b#ref={COMMIT}", ("h.com/a/",), True),
        ("git+ssh://git@h.com/a/b", ("h.com/",), False),
        ("git+ssh://git@h.com/a/b", ("git+ssh://git@h.com/",), True),
        ("claude", (), True),
    ],
)
def test_the_list_of_sources(ref: str, sources: tuple[str, ...], fits: bool) -> None:
    allowed = Allowed(sources=sources, local=False)
    reference = parse_reference(ref, cwd=Path("/"))
    if fits:
        allowed.check(ref, reference)
        return
    with pytest.raises(UserError) as caught:
        allowed.check(ref, reference)
    assert caught.value.message.startswith(f'resolve kits: kit "{ref}"')
    assert "source is not in the allowlist" in caught.value.message


def test_local_kits_can_be_forbidden(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(MIXIN)
    ref = str(tmp_path)
    assert Fetcher(cwd=tmp_path)(ref).bundle.spec == MIXIN.encode()
    with pytest.raises(UserError, match=r"^resolve kits: kit .* local kits are not allowed"):
        Fetcher(cwd=tmp_path, allowed=Allowed(local=False))(ref)


def test_folder_and_archive_are_the_same_kit(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(MIXIN)
    (tmp_path / "k.zip").write_bytes(to_zip(read_folder(tmp_path, what="k")))
    fetch = Fetcher(cwd=tmp_path)
    assert fetch(".").bundle.digest == fetch("k.zip").bundle.digest


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="kit not found"):
        Fetcher(cwd=tmp_path)("./none")


def test_a_kit_that_was_locked_as_another_is_refused(tmp_path: Path) -> None:
    good = Fetcher(cwd=tmp_path)("claude").bundle.digest
    Fetcher(cwd=tmp_path, pins={"claude": good})("claude")
    with pytest.raises(KitError, match="is not the one that was locked") as caught:
        Fetcher(cwd=tmp_path, pins={"claude": "sha256:" + "0" * 64})("claude")
    assert "sbx kit lock" in (caught.value.hint or "")


def test_each_is_fetched_once(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(MIXIN)
    fetch = Fetcher(cwd=tmp_path)
    first = fetch(".")
    (tmp_path / "spec.yaml").unlink()
    assert fetch(".") is first
