# SPDX-License-Identifier: Apache-2.0
"""The checks of `sbx diagnose` on the host as it is: each answers, each trouble has a remedy."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kit.installation import Installation


def test_the_real_checks_answer_and_every_trouble_has_a_remedy(tmp_path: Path) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir()
    sbx = Installation(home=tmp_path, runtime=runtime, cache=tmp_path / "cache")
    done = sbx.call("diagnose", "--json")
    document = json.loads(done.out)
    by_name = {check["name"]: check for check in document["checks"]}
    assert by_name["Authentication"]["status"] == "pass"
    assert by_name["KVM"]["status"] == "skip"  # before set-up it cannot be tried
    assert by_name["Runtime"]["hint"] == "Run: sbx setup"
    assert done.returncode == 1
    assert sum(document["summary"].values()) == len(document["checks"])
    for check in document["checks"]:
        assert check["status"] == "pass" or check["hint"], check
