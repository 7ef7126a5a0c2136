# SPDX-License-Identifier: Apache-2.0
"""The document says what the program does."""

from __future__ import annotations

import re

from sbx.cli.exit_status import ExitStatus
from tests.kit.installation import ROOT


def test_the_document_lists_every_status() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")
    own = {int(n) for n in re.findall(r"^\| (\d+) \| `sbx` \|", text, re.M)}
    assert own == {status.value for status in ExitStatus}
