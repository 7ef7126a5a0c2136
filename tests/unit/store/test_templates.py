# SPDX-License-Identifier: Apache-2.0
"""The user's templates as they are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.errors import NotFoundError, PermanentError
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredLayer, StoredTemplate


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    return Paths(
        state=tmp_path / "s", config=tmp_path / "c", cache=tmp_path / "k", runtime=tmp_path / "r"
    )


def one(
    reference: str = "docker.io/library/x:1", image_id: str = "sha256:abcdef"
) -> StoredTemplate:
    return StoredTemplate(
        reference=reference, id=image_id, origin=Origin.LOADED,
        created_at=datetime(2026, 1, 2, tzinfo=UTC), user="agent", workdir="/w", env={"A": "1"},
        command=("/bin/sh",), labels={},
        layers=(StoredLayer(digest="d" * 64, size_bytes=5, chain="c", shells=("/bin/sh",)),),
    )  # fmt: skip


def test_round_trip(where: Paths) -> None:
    assert templates.read_all(where) == ()
    templates.write(where, one())
    templates.write(where, one("docker.io/library/a:2"))
    assert [t.reference for t in templates.read_all(where)] == [
        "docker.io/library/a:2", "docker.io/library/x:1",
    ]  # fmt: skip
    assert templates.find(where, "docker.io/library/x:1") == one()
    assert (one().repository, one().tag) == ("docker.io/library/x", "1")


def test_a_digest_stands_where_a_tag_would() -> None:
    assert templates.split_reference("r:5000/x@sha256:aa") == ("r:5000/x", "sha256:aa")
    assert templates.split_reference("r:5000/x:1") == ("r:5000/x", "1")


def test_beginning_of_an_id(where: Paths) -> None:
    templates.write(where, one())
    assert templates.by_id(where, "sha256:abcd") == templates.by_id(where, "abcdef") == (one(),)
    for text in ("abc", "", "xyz1", "abcdef0"):
        assert templates.by_id(where, text) == ()


def test_removing(where: Paths) -> None:
    templates.write(where, one())
    templates.remove(where, one().reference)
    with pytest.raises(NotFoundError, match=r'template not found: "docker.io/library/x:1"'):
        templates.remove(where, one().reference)


def test_spoilt_file_is_an_error_with_a_remedy(where: Paths) -> None:
    templates.write(where, one())
    (path,) = (where.state / templates.FOLDER).glob("*.json")
    path.write_text("{}")
    with pytest.raises(PermanentError) as error:
        templates.read_all(where)
    assert str(path) in (error.value.hint or "")
