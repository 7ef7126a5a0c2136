# SPDX-License-Identifier: Apache-2.0
"""What kits want to be run at every start of a sandbox."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sbx.lifecycle.inside import Command, run_inside
from sbx.sandbox.recipe import Step
from sbx.store.paths import Paths

log = logging.getLogger(__name__)

_STEP_SECONDS = 120.0
_BACKGROUND = 'setsid "$@" >/dev/null 2>&1 </dev/null &'


def run_startup(where: Paths, name: str, steps: Sequence[Step]) -> None:
    """Run what kits want at every start; one that fails is told and keeps nobody out."""
    for step in steps:
        argv = ("sh", "-c", _BACKGROUND, "sh", *step.argv) if step.background else step.argv
        command = Command(argv=argv, user=step.user, timeout_s=_STEP_SECONDS)
        done = run_inside(where, name, command)
        if done.status != 0:
            log.warning("startup step failed: %s: %s", " ".join(step.argv)[:80], done.why)
