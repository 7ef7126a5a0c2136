# SPDX-License-Identifier: Apache-2.0
"""Processes by descriptor."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sbx.errors import TransientError
from sbx.system.pidfd import ProcessHandle, last_descendant


def test_a_chain_of_wrappers_is_followed_to_its_end() -> None:
    script = "/bin/sh -c 'echo $$; read x; exit 0'; exit 0"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as outer:
        assert outer.stdout is not None
        inner = int(outer.stdout.readline())
        assert inner != outer.pid
        assert last_descendant(outer.pid) == inner
        assert last_descendant(inner) == inner
        outer.communicate(b"\n")


def test_two_children_are_no_chain() -> None:
    script = "cat & cat & echo ready; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec 3<&0; {script.replace('cat', 'cat <&3')}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        with pytest.raises(TransientError, match="more than one child"):
            last_descendant(outer.pid)
        outer.communicate()


def test_a_signal_reaches_the_process_and_none_after_it() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        handle = ProcessHandle(child.pid)
        handle.signal(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        handle.signal(signal.SIGKILL)
        handle.close()
        with pytest.raises(TransientError, match="is gone"):
            ProcessHandle(child.pid)
        with pytest.raises(TransientError, match="is gone"):
            last_descendant(child.pid)


def test_nothing_stays_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    ProcessHandle(os.getpid()).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
