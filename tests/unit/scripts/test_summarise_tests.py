# SPDX-License-Identifier: Apache-2.0
"""The closing lines of `bin/test`, and its status, follow from the reports alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sbx.system.process import Completed, run

SCRIPT = Path(__file__).parents[3] / "scripts" / "summarise-tests"
PASSED, FAILED = "<testcase/>", "<testcase><failure/></testcase>"
BROKEN, SKIPPED = "<testcase><error/></testcase>", "<testcase><skipped/></testcase>"


def summarise(folder: Path, **cases: str) -> Completed:
    for tier, inner in cases.items():
        (folder / f"{tier}.xml").write_text(
            f"<testsuites><testsuite>{inner}</testsuite></testsuites>"
        )
    return run([sys.executable, SCRIPT, folder, "unit", "vm"], check=False)


@pytest.mark.parametrize(
    ("unit", "vm", "last", "status"),
    [
        (PASSED * 2, PASSED + SKIPPED, "3 passed, 0 failed, 1 skipped", 0),
        (PASSED, FAILED, "1 passed, 1 failed, 0 skipped", 1),
        (PASSED, BROKEN, "1 passed, 1 failed, 0 skipped", 1),
        ("", "", "0 passed, 0 failed, 0 skipped", 1),
    ],
)
def test_the_last_line_sums_up(tmp_path: Path, unit: str, vm: str, last: str, status: int) -> None:
    done = summarise(tmp_path, unit=unit, vm=vm)
    assert done.stdout.decode().splitlines()[-1] == last
    assert done.returncode == status


def test_a_tier_without_a_report_has_failed(tmp_path: Path) -> None:
    done = summarise(tmp_path, unit=PASSED)
    assert done.stdout.decode().splitlines()[-1] == "1 passed, 1 failed, 0 skipped"
    assert done.returncode == 1
