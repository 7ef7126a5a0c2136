# SPDX-License-Identifier: Apache-2.0
"""The sentence for a file server that did not come up."""

from __future__ import annotations

from sbx.errors import HostError, PermanentError
from sbx.workspace.share import explain_end


def test_a_refused_jail_is_a_fault_of_the_host_with_a_remedy() -> None:
    words = "bwrap: Creating new namespace failed: nesting depth exceeded"
    error = explain_end("status 1", words)
    assert isinstance(error, HostError)
    assert "user namespaces" in error.message or "user.max_" in error.message
    assert error.hint is not None
    assert error.details == words


def test_a_server_that_gave_up_is_told_with_its_words() -> None:
    error = explain_end("status 1", "no such option")
    assert isinstance(error, PermanentError)
    assert (error.message, error.details) == ("file server failed with status 1", "no such option")
