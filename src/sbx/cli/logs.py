# SPDX-License-Identifier: Apache-2.0
"""Logs of the command line: shown with `--debug`, else silent (a failure is told by its error)."""

from __future__ import annotations

import logging
import sys


def set_up_logs(*, debug: bool) -> None:
    """Say where log records go; without this Python prints warnings among our own lines."""
    own = logging.getLogger("sbx")
    if not debug:
        own.addHandler(logging.NullHandler())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("DEBUG %(name)s: %(message)s"))
    own.addHandler(handler)
    own.setLevel(logging.DEBUG)
