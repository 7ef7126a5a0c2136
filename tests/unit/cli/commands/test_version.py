# SPDX-License-Identifier: Apache-2.0
"""`sbx version`."""

from __future__ import annotations

import re

import sbx as package
from tests.unit.cli.conftest import Call


def test_the_first_line_is_what_scripts_read(sbx: Call) -> None:
    out = sbx("version").out
    assert out == f"sbx version: v{package.__version__} (compatible with 0.53.0)\n"
    found = re.search(r"\d+\.\d+\.\d+", out)
    assert found is not None
    assert [int(n) for n in found[0].split(".")] >= [0, 49, 2]


def test_json_before_set_up_has_no_parts(sbx: Call) -> None:
    assert sbx("version", "--json").json() == {
        "version": package.__version__,
        "compatible_with": "0.53.0",
        "templates": [],
    }
