# SPDX-License-Identifier: Apache-2.0
"""The words for a machine that did not start."""

from __future__ import annotations

import pytest

from sbx.errors import HostError, PermanentError, SbxError
from sbx.vm.watch import explain_failure


@pytest.mark.parametrize(
    ("stderr", "kind", "words"),
    [
        ("bwrap: No permissions to create new namespace", HostError, "jail"),
        (
            "qemu: cannot set up guest memory: Cannot allocate memory",
            HostError,
            "not enough memory",
        ),
        ("qemu: bad option", PermanentError, "QEMU ended with signal 6"),
        ("", PermanentError, "QEMU ended with signal 6"),
    ],
)
def test_sentences(stderr: str, kind: type[SbxError], words: str) -> None:
    error = explain_failure(134, stderr)
    assert type(error) is kind
    assert words in error.message
    assert error.details == (stderr or None)
    assert error.hint
