# SPDX-License-Identifier: Apache-2.0
"""Real machines: an installation per test or per module, proved empty at its end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from sbx.image.store import ImageStore
from sbx.system.progress import Silent
from tests.internet.client import Internet
from tests.kit.installation import Installation, keep_evidence

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on the item and its module that something failed: fixtures then keep the evidence."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        if item.parent is not None:
            item.parent.stash[FAILED] = True
    del call
    return report


def cache_home() -> Path:
    """The tester's own cache: parts are built once for all tests."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@pytest.fixture(scope="session", name="prepared")
def _prepared() -> None:
    """Runtime, tools and base template are there."""
    ImageStore(cache_home() / "opensbx").prepare(Silent())


@pytest.fixture(scope="session", name="results")
def _results() -> Path:
    """Where evidence is kept."""
    given = os.environ.get("CI_RESULTS")
    return Path(given) if given else cache_home() / "opensbx-test-results"


def _installation(
    node: pytest.Item | pytest.Collector, results: Path, internet: Internet | None = None
) -> Iterator[Installation]:
    home = Path(tempfile.mkdtemp(prefix="sbx-vm-"))
    (home / "run").mkdir()
    made = Installation(home=home, runtime=home / "run", cache=cache_home(), internet=internet)
    try:
        yield made
        if node.stash.get(FAILED, False):
            keep_evidence(made, results / node.name)
        made.close(results / node.name)
    finally:
        shutil.rmtree(home)


@pytest.fixture(name="sbx")
def _sbx(request: pytest.FixtureRequest, prepared: None, results: Path) -> Iterator[Installation]:
    """An installation for one test."""
    del prepared
    yield from _installation(request.node, results)


@pytest.fixture(scope="module", name="shared")
def _shared(
    request: pytest.FixtureRequest, prepared: None, results: Path
) -> Iterator[Installation]:
    """An installation for all tests of a module."""
    del prepared
    yield from _installation(request.node, results)


@pytest.fixture(scope="module", name="online")
def _online(
    request: pytest.FixtureRequest, prepared: None, results: Path, internet: Internet
) -> Iterator[Installation]:
    """The same, living in the test internet of the module."""
    del prepared
    yield from _installation(request.node, results, internet)


@pytest.fixture(name="project")
def _project(sbx: Installation) -> Path:
    """A folder with a file, as a workspace."""
    folder = sbx.home / "project"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    return folder
