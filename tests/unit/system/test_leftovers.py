# SPDX-License-Identifier: Apache-2.0
"""What a killed supervisor left behind is found by its environment, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from sbx.system.leftovers import end_jails, jail_mark


def waiting(env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that says when it runs, with its own environment in place."""
    child = subprocess.Popen(
        ["sh", "-c", "echo up; exec sleep 1000"],
        env={"PATH": os.environ["PATH"], **env},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    return child


def test_only_the_jails_of_one_sandbox_are_ended(tmp_path: Path) -> None:
    own, other = tmp_path / "a", tmp_path / "ab"
    with waiting(jail_mark(own)) as left, waiting(jail_mark(other)) as kept:
        end_jails(own)
        assert left.wait(5) == -signal.SIGKILL
        assert kept.poll() is None
        kept.kill()
