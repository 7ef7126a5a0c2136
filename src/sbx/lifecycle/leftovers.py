# SPDX-License-Identifier: Apache-2.0
"""Builders that outlived the command that made them: found by their name, cleared away."""

from __future__ import annotations

import contextlib

from sbx.errors import NotFoundError, PermanentError
from sbx.image.cache import remove_tree
from sbx.lifecycle.remove import remove
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.files import owned_fd
from sbx.system.locks import try_lock

AGENT = "builder"  # of the sandbox's spec: a user's own sandbox may have any name
PREFIX = "template-"
FOLDER = "builds"  # of the cache
LOCK = "builder.lock"  # of the state: held by whoever has a builder


def sweep_builders(where: Paths) -> None:
    """Clear away what a killed build left; never in the way of one at work."""
    if not any(name.startswith(PREFIX) for name in records.names(where)):
        return
    lock = try_lock(where.state / LOCK)
    if lock is not None:
        with owned_fd(lock):
            clear_builders(where)


def clear_builders(where: Paths) -> None:
    """The same, by the holder of the lock."""
    for name in records.names(where):
        if not name.startswith(PREFIX):
            continue
        with contextlib.suppress(NotFoundError, PermanentError):
            if records.read_spec(where, name).agent == AGENT:
                remove(where, name, force=True)
                remove_tree(where.cache / FOLDER / name)
