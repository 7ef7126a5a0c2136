# SPDX-License-Identifier: Apache-2.0
"""The exit statuses of `sbx` itself; that of a command inside a sandbox is passed through."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """How `sbx` ends; docs/exit-codes.md says the same to users, and a test compares the two."""

    OK = 0
    FAILURE = 1  # anything that sbx could not do, wrong usage included
    HANGUP = 129  # 128 + SIGHUP
    INTERRUPTED = 130  # 128 + SIGINT
    BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of our output went away
    TERMINATED = 143  # 128 + SIGTERM
