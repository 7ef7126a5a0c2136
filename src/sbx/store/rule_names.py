# SPDX-License-Identifier: Apache-2.0
"""Whether the stored policy speaks of a sandbox, found out without loading what reads policies."""

from __future__ import annotations

import json

from sbx.errors import HostError
from sbx.store.paths import POLICY, Paths
from sbx.system.files import read_bounded

_LIMIT_BYTES = 64 << 20  # as `store.rules`


def mentions_sandbox(where: Paths, name: str) -> bool:
    """Whether the file could hold a rule of this sandbox; true if nobody can tell."""
    try:
        data = read_bounded(where.config / POLICY, limit_bytes=_LIMIT_BYTES)
    except FileNotFoundError:
        return False
    except (OSError, HostError):
        return True
    return json.dumps(name).encode() in data
