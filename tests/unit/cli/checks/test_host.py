# SPDX-License-Identifier: Apache-2.0
"""Checks of the host, where their answer can be told beforehand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from sbx.cli.checks import host
from sbx.cli.checks.model import Outcome
from sbx.store.paths import Paths


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free", "outcome"),
    [(host.FAIL_BELOW_BYTES - 1, Outcome.FAIL), (host.WARN_BELOW_BYTES - 1, Outcome.WARN),
     (host.WARN_BELOW_BYTES, Outcome.PASS)],
)  # fmt: skip
def test_disk_space(
    where: Paths, monkeypatch: pytest.MonkeyPatch, free: int, outcome: Outcome
) -> None:
    def usage(_path: Path) -> _Usage:
        return _Usage(free * 2, free, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = host.check_disk(where)
    assert found.outcome is outcome
    assert bool(found.hint) is (outcome is not Outcome.PASS)


def test_disk_space_before_the_first_use(tmp_path: Path) -> None:
    nowhere = tmp_path / "not/yet"
    found = host.check_disk(Paths(state=nowhere, config=nowhere, cache=nowhere, runtime=nowhere))
    assert str(tmp_path) in found.message


def test_a_missing_package_is_named_with_the_command(
    where: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        host.Package("coreutils", "cat", "is there"),
        host.Package("nosuch-package", "nosuch-program", "does what nothing does"),
        host.Package("nosuch-file", "/nosuch/file", "holds nothing"),
        host.Package("python3-nosuch", "python:nosuch_module", "is imported by nobody"),
        host.Package("python3", "python:json", "is there"),
    )
    monkeypatch.setattr(host, "packages", lambda: lines)
    found = host.check_packages(where)
    assert found.outcome is Outcome.FAIL
    assert found.message == "missing: nosuch-package, nosuch-file, python3-nosuch"
    assert found.hint.endswith("nosuch-package nosuch-file python3-nosuch")
    assert "does what nothing does" in found.detail


def test_the_package_list_is_read() -> None:
    names = [package.name for package in host.packages()]
    assert "bubblewrap" in names
    assert all(package.probe and package.reason for package in host.packages())


@pytest.mark.parametrize(("uid", "first"), [(0, "apt-get"), (1000, "sudo")])
def test_who_installs(monkeypatch: pytest.MonkeyPatch, uid: int, first: str) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    command = host.install_command((host.Package("a", "b", "c"),))
    assert command[0] == first
    assert command[-1] == "a"


def test_the_python_that_runs_this_passes(where: Paths) -> None:
    assert host.check_python(where).outcome is Outcome.PASS
