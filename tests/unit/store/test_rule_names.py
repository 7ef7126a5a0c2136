# SPDX-License-Identifier: Apache-2.0
"""A quick look for a sandbox's name: it never misses a rule that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.policy.presets import Preset
from sbx.store.paths import POLICY, Paths
from sbx.store.rule_names import mentions_sandbox
from sbx.store.rules import init_policy
from tests.kit.fake_supervisor import paths_below
from tests.unit.policy.factories import rule


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    return paths_below(tmp_path)


def test_names_are_found(where: Paths) -> None:
    assert not mentions_sandbox(where, "one")
    init_policy(where, Preset.BALANCED, (rule("allow a.com", sandbox="a.b-c"),))
    assert mentions_sandbox(where, "a.b-c")
    assert not mentions_sandbox(where, "a.b")
    assert not mentions_sandbox(where, "one")


def test_what_cannot_be_read_may_mention_it(where: Paths) -> None:
    (where.config / POLICY).mkdir(parents=True)
    assert mentions_sandbox(where, "one")
