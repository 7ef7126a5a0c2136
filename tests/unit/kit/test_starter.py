# SPDX-License-Identifier: Apache-2.0
"""What `kit init` writes is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.kit.args import NO_ARGS
from sbx.kit.compose import load_kit
from sbx.kit.fetch import Fetcher
from sbx.kit.model import Kind
from sbx.kit.starter import starter


@pytest.mark.parametrize("kind", list(Kind))
def test_it_is_valid(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(starter(kind, "my-kit"))
    found = load_kit(str(tmp_path), Fetcher(cwd=tmp_path), NO_ARGS)
    assert (found.spec.name, found.spec.kind, found.warnings) == ("my-kit", kind, ())
