# SPDX-License-Identifier: Apache-2.0
"""The human log of a long-running process: bounded, private, in UTC."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path

_MAX_BYTES = 1 << 20


def log_to_file(path: Path, *, debug: bool = False) -> None:
    """Send all log records of this process to `path`; one older generation is kept beside it."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=1)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s")
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(capture=True)
