# SPDX-License-Identifier: Apache-2.0
"""Checks of what sbx itself has made."""

from __future__ import annotations

from sbx.cli.checks import product
from sbx.cli.checks.model import Outcome
from sbx.store.paths import Paths
from tests.unit.cli.conftest import MakeSandbox


def test_before_set_up_the_parts_are_missing_and_set_up_is_the_remedy(where: Paths) -> None:
    for check in (product.check_runtime, product.check_tools, product.check_template):
        found = check(where)
        assert (found.outcome, found.hint) == (Outcome.FAIL, "Run: sbx setup")
    assert product.check_accel(where).outcome is Outcome.SKIP


def test_open_folders_are_found(where: Paths) -> None:
    assert product.check_folders(where).outcome is Outcome.PASS
    where.state.chmod(0o755)
    found = product.check_folders(where)
    assert found.outcome is Outcome.FAIL
    assert found.hint == f"Run: chmod 700 '{where.state}'"


def test_folders_that_are_not_there_yet_are_fine(where: Paths) -> None:
    where.cache.rmdir()
    assert product.check_folders(where).outcome is Outcome.PASS


def test_leftovers(where: Paths, make_sandbox: MakeSandbox) -> None:
    assert product.check_leftovers(where).outcome is Outcome.PASS
    spec = make_sandbox("one")
    where.run_folder(spec.id).mkdir()
    assert product.check_leftovers(where).outcome is Outcome.PASS
    (where.runtime / "boot-slots").mkdir()
    assert product.check_leftovers(where).outcome is Outcome.PASS
    stale = where.runtime / "0badcafe-000"
    stale.mkdir()
    found = product.check_leftovers(where)
    assert (found.outcome, found.hint) == (Outcome.WARN, f"Run: rm -r '{stale}'")


def test_damaged_sandboxes_are_leftovers(where: Paths, make_sandbox: MakeSandbox) -> None:
    make_sandbox("one")
    (where.sandbox("one") / "spec.json").write_text("{")
    found = product.check_leftovers(where)
    assert (found.outcome, found.hint) == (Outcome.WARN, "Run: sbx rm -f one")


def test_no_account_is_needed(where: Paths) -> None:
    found = product.check_authentication(where)
    assert (found.outcome, found.message) == (Outcome.PASS, "no account needed")
