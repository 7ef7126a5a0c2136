# SPDX-License-Identifier: Apache-2.0
"""Locked requirements and the list of host packages: complete, pinned, and free of addresses."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.style.tree import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")
GROUPS = {"requirements-dev.lock": "dev", "requirements-bench.lock": "bench"}
PACKAGE_LISTS = ("src/sbx/system/packages.txt", "tests/packages.txt")
PINNED = re.compile(r"^([a-z0-9-]+)==\S+ ; [^\\]+\\\n((?: +--hash=sha256:[0-9a-f]{64}.*\n)+)", re.M)


def bounds(lock: str) -> list[str]:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted: list[str] = data["project"]["dependencies"]
    return [*wanted, *(data["dependency-groups"][GROUPS[lock]] if lock in GROUPS else ())]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked(lock: str) -> None:
    locked = {found[1] for found in PINNED.finditer((ROOT / lock).read_text(encoding="utf-8"))}
    names = {re.split(r"[\[<>=]", bound)[0].replace(".", "-") for bound in bounds(lock)}
    assert names
    assert names - locked == set(), "run scripts/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_nothing_but_pins(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert [line for line in PINNED.sub("", text).splitlines() if not line.startswith("#")] == []
    assert "://" not in text


def test_bounds_are_lower_bounds() -> None:
    every = [bound for lock in LOCKS for bound in bounds(lock)]
    assert [b for b in every if not re.fullmatch(r"[\w.\[\]-]+>=[\w.]+", b)] == []


def test_the_locks_agree() -> None:
    run_time, *others = (
        set(re.findall(r"^(\S+==\S+)", (ROOT / lock).read_text(), re.M)) for lock in LOCKS
    )
    assert [run_time - other for other in others] == [set()] * len(others)


@pytest.mark.parametrize("name", PACKAGE_LISTS)
def test_package_lists_have_three_columns(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert rows
    assert [row for row in rows if len(row) != 3 or not all(row)] == []
