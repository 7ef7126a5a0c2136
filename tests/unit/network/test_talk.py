# SPDX-License-Identifier: Apache-2.0
"""What a failed network says; the real thing is in tests/host."""

from __future__ import annotations

import pytest

from sbx.errors import HostError
from sbx.network import talk


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "tun-open|13|Permission denied",
            "no permission to open `/dev/net/tun`",
            "sudo chmod 0666 /dev/net/tun",
        ),
        (
            "tun-open|2|No such file or directory",
            "no TAP device: `/dev/net/tun`",
            "sudo modprobe tun",
        ),
        ("tun-open|19|No such device", "the kernel has no TAP driver", "sudo modprobe tun"),
        ("unshare|1|Operation not permitted", "user namespaces are forbidden", None),
        ("user-map|1|Operation not permitted", "user namespaces are forbidden", None),
        (
            "ip-forward|30|Read-only file system",
            "cannot prepare the sandbox's network: ip-forward",
            "--privileged",
        ),
        ("nonsense", "cannot prepare the sandbox's network: nonsense", None),
    ],
)
def test_a_step_that_failed_becomes_a_sentence(text: str, message: str, hint: str | None) -> None:
    error = talk.helper_error(text)
    assert isinstance(error, HostError)
    assert message in error.message
    assert hint is None or (error.hint is not None and hint in error.hint)
