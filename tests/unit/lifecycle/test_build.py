# SPDX-License-Identifier: Apache-2.0
"""What a Dockerfile starts from, and which of the engine's layers become one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.lifecycle.build import bases_in, groups


def test_bases(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "# FROM commented\nFROM opensbx/shell\nRUN x\nfrom --platform=linux/amd64 a/b:1 AS two\n"
        "  FROM opensbx/shell\nRUN echo FROM nowhere\n"
    )
    assert bases_in(tmp_path) == ("opensbx/shell", "a/b:1")


def test_folder_without_a_dockerfile(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Dockerfile in"):
        bases_in(tmp_path)


@pytest.mark.parametrize(
    ("below", "count", "sizes"),
    [
        (0, 3, [1, 1, 1]), (0, 4, [1, 1, 1, 1]), (0, 7, [4, 1, 1, 1]), (1, 3, [1, 1, 1]),
        (1, 5, [3, 1, 1]), (2, 3, [2, 1]), (4, 3, [3]), (5, 1, [1]), (1, 0, []),
    ],
)  # fmt: skip
def test_no_more_than_four_layers_where_there_is_room(
    below: int, count: int, sizes: list[int]
) -> None:
    found = groups(below, count)
    assert [len(one) for one in found] == sizes
    assert [number for one in found for number in one] == list(range(count))
