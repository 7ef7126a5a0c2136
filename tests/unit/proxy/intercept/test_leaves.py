# SPDX-License-Identifier: Apache-2.0
"""Certificates for intercepted names."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from sbx.proxy.intercept.authority import make_authority
from sbx.proxy.intercept.leaves import Leaves, client_context


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_name_has_one_context_and_no_file_is_left() -> None:
    authority = make_authority(datetime.now(UTC))
    leaves = Leaves(lambda: authority)
    before = _descriptors()
    first = leaves.context("a.test")
    assert leaves.context("a.test") is first
    assert leaves.context("b.test") is not first
    assert _descriptors() == before
    assert first.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_number_of_contexts_is_bounded() -> None:
    authority = make_authority(datetime.now(UTC))
    leaves = Leaves(lambda: authority)
    first = leaves.context("0.test")
    for number in range(1, 520):
        leaves.context(f"{number}.test")
    assert leaves.context("0.test") is not first


def test_servers_are_verified() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
