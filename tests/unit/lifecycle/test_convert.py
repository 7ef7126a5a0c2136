# SPDX-License-Identifier: Apache-2.0
"""Which layers of an image become one, and which are taken from another image."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.image.oci import digest_of
from sbx.lifecycle.convert import (
    Group,
    Source,
    chains,
    check_part,
    find_shell,
    group,
    known_layers,
)
from sbx.store.templates import StoredLayer
from tests.unit.store.test_templates import one


def source(digest: str) -> Source:
    return Source(path=Path("/x"), offset=0, size_bytes=1, digest=digest)


def layer(chain: str, count: int = 1, *shells: str) -> StoredLayer:
    return StoredLayer(digest="d" * 64, size_bytes=1, chain=chain, count=count, shells=shells)


def test_up_to_four_layers_stay_as_they_are() -> None:
    assert group(["a", "b", "c", "d"], {}) == tuple(Group(n, n + 1) for n in range(4))


@pytest.mark.parametrize("total", [5, 6, 40])
def test_above_four_the_lowest_become_one(total: int) -> None:
    links = [str(number) for number in range(total)]
    found = group(links, {})
    assert len(found) == 4
    assert found[0] == Group(0, total - 3)
    assert [one.count for one in found[1:]] == [1, 1, 1]


def test_what_another_image_put_together_is_taken() -> None:
    links = ["0", "1", "2", "3", "4", "5"]
    known = {("3", 4): layer("3", 4)}
    assert group(links, known) == (Group(0, 4), Group(4, 5), Group(5, 6))
    assert group(links, {("3", 1): layer("3")})[0] == Group(0, 3)


def test_chain_of_unchecked_layers_is_nobodys() -> None:
    one, two = digest_of(b"1"), digest_of(b"2")
    assert chains([source(one), source(two)])[0] == one
    assert chains([source(one), source(""), source(two)])[1:] == ("", "")
    assert chains([source(""), source(two)]) == ("", "")


def test_layers_whose_chain_is_not_known_are_not_shared() -> None:
    assert set(known_layers([one()])) == {("c", 1)}


def test_shell() -> None:
    assert find_shell([layer("a", 1, "/bin/sh"), layer("b", 1, "/bin/bash")], "x") == "/bin/bash"
    assert find_shell([layer("a", 1, "/busybox/sh")], "x") == "/busybox/sh"
    with pytest.raises(UserError, match="image `x` has no shell, and a sandbox needs one"):
        find_shell([layer("a")], "image `x`")


def test_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"headBODYtail")
    assert check_part(path, 4, 4, digest_of(b"BODY"))
    assert not check_part(path, 4, 5, digest_of(b"BODY"))
    assert not check_part(path, 4, 400, digest_of(b"BODYtail"))  # the file ends before
