# SPDX-License-Identifier: Apache-2.0
"""Which versions are read."""

from __future__ import annotations

import pytest

from sbx.kit.args import NO_ARGS
from sbx.kit.findings import KitError
from sbx.kit.read import read_spec
from tests.unit.kit.kits import MIXIN, problems, read


@pytest.mark.parametrize(
    "text",
    ["# syntax=docker/sandbox-kit:3\nkind: mixin\n", 'schemaVersion: "3"\nkind: workload\n'],
)
def test_version_3_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(KitError, match=r"schemaVersion 3.* not supported") as caught:
        read_spec(text.encode(), NO_ARGS, what="./k")
    assert caught.value.details is None


def test_other_versions() -> None:
    assert "`4` is not one of `2`" in problems(MIXIN.replace('"2"', '"4"'))[0]
    assert "missing key `schemaVersion`" in problems("kind: mixin\nname: a\n")[0]
    assert read(MIXIN.replace('"2"', "2")).spec.schema_version == "2"


def test_the_name_of_the_kit_is_made_harmless() -> None:
    with pytest.raises(KitError) as caught:
        read_spec(b"a: b\n", NO_ARGS, what="./\x1b[31m")
    assert "\x1b" not in caught.value.message
    found = problems(MIXIN, 'description: "\\e[31m"\n"\\e]0;x": y\n')
    assert not any("\x1b" in line for line in found)
