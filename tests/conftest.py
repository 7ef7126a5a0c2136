# SPDX-License-Identifier: Apache-2.0
"""The rules of the test tiers: a tier is a folder, has a time limit, and states why it skips.

docs/testing.md describes the tiers. `bin/test` starts them, each where it belongs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from sbx.system.process import run
from tests.internet.client import Internet, open_internet

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# A bound against hanging for each test, not a measure of speed.
TIMEOUTS_S = {"unit": 5, "host": 30, "vm": 120, "style": 300}

# Under load an example may take long: only bin/test and the limits above bound time.
hypothesis.settings.register_profile("sbx", deadline=None, database=None)
hypothesis.settings.load_profile("sbx")


# Started in the background of a script, everything ignores these (POSIX, 2.11), and children of
# tests that send them would as well.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        _usual = signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL
        signal.signal(_number, _usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdinaryUser:
    """A user without privileges, made by `bin/test` when it runs as root."""

    name: str
    uid: int
    home: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    patience = float(os.environ.get("SBX_TEST_PATIENCE", "1"))
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in TIMEOUTS_S:
            marker = item.get_closest_marker("timeout")
            limit_s = float(marker.args[0]) if marker is not None else TIMEOUTS_S[tier]
            item.add_marker(pytest.mark.timeout(limit_s * patience), append=False)


def _expected_skips() -> tuple[str, ...]:
    lines = (TESTS / "expected-skips.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn a skip that nobody expects into a failure."""
    report = yield
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("CI") != "true":
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(_expected_skips()):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped in CI: {reason}"
    return report


@pytest.fixture(scope="session")
def ordinary_user() -> OrdinaryUser:
    """The user for tests that must work without privileges; skips where there is none.

    Run a command as this user with `setpriv --reuid NAME --regid NAME --init-groups` or `su`.
    """
    name = os.environ.get("SBX_TEST_USER", "")
    if os.geteuid() != 0 or not name:
        pytest.skip("needs root and the user that `bin/test` makes for it")
    entry = pwd.getpwnam(name)
    return OrdinaryUser(name=name, uid=entry.pw_uid, home=Path(entry.pw_dir))


@pytest.fixture
def user_folder(ordinary_user: OrdinaryUser) -> Iterator[Path]:
    """An empty folder of the ordinary user."""
    with tempfile.TemporaryDirectory(dir=ordinary_user.home) as name:
        shutil.chown(name, ordinary_user.name, ordinary_user.name)
        yield Path(name)


@pytest.fixture(scope="session")
def user_checkout(ordinary_user: OrdinaryUser) -> Path:
    """A copy of this checkout that belongs to the ordinary user, as a clone of theirs would.

    Stays at its place from run to run, and so does the environment that `bin/sbx` makes for it.
    """
    target = ordinary_user.home / "checkout"
    shutil.rmtree(target, ignore_errors=True)
    listed = run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z"]).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    run(["chown", "-R", f"{ordinary_user.name}:", target])
    return target


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    """A test internet for the tests of a module (docs/testing.md)."""
    with open_internet() as made:
        yield made
