# SPDX-License-Identifier: Apache-2.0
"""What a Dockerfile starts from, and what is refused before a builder is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.lifecycle.build import named_bases


def test_the_images_after_from_are_found_once(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "# FROM commented\n"
        "ARG VERSION=1\n"
        "from  opensbx/shell AS tools\n"
        "RUN echo FROM nowhere\n"
        "FROM --platform=linux/amd64 docker.io/library/alpine:3\n"
        "FROM opensbx/shell\n"
        "COPY --from=tools /x /x\n"
    )
    assert named_bases(tmp_path) == ("opensbx/shell", "docker.io/library/alpine:3")


def test_a_folder_without_a_dockerfile_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read `.*/Dockerfile`: No such file"):
        named_bases(tmp_path)
