# SPDX-License-Identifier: Apache-2.0
"""The rate of questions, with a clock of the test."""

from __future__ import annotations

from sbx.proxy.dns_server import Bucket


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    now = [0.0]
    bucket = Bucket(10, lambda: now[0])
    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]
    now[0] = 0.25
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now[0] = 1000.0
    assert sum(bucket.take() for _ in range(50)) == 10
