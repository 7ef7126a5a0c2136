# SPDX-License-Identifier: Apache-2.0
"""Locks between processes: exclusive, dropped by death, asked for without being taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from sbx.system.locks import hold_lock, hold_slot, is_locked, try_lock


def test_only_one_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    os.close(first)
    second = try_lock(path)
    assert second is not None
    os.close(second)


def test_asking_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()
    with hold_lock(path):
        assert is_locked(path)
        assert is_locked(path)
    assert not is_locked(path)


def test_the_kernel_drops_it_when_the_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from sbx.system.locks import try_lock; "
        "fd = try_lock(Path(sys.argv[1])); print(fd, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() != b"None"
        assert is_locked(path)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not is_locked(path)


def test_places_are_as_many_as_said_and_pass_to_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "slots"
    with hold_slot(folder, 2) as first:
        copy = os.dup(first)
        os.close(first)  # given away early, as to a child
        with hold_slot(folder, 2):
            assert try_lock(folder / "0") is None
            assert try_lock(folder / "1") is None
    assert try_lock(folder / "0") is None, "the copy still holds it"
    os.close(copy)
    again = try_lock(folder / "0")
    assert again is not None
    os.close(again)
