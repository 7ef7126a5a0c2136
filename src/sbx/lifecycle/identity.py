# SPDX-License-Identifier: Apache-2.0
"""What makes a machine somebody's: names, clock, random bytes, key, and its two links."""

from __future__ import annotations

import os
import time

from sbx.agent.control import Identity, LinkSetup
from sbx.sandbox import addresses

SESSION_KEY_BYTES = 32
_ENTROPY_BYTES = 64


def make_identity(*, hostname: str, machine_id: str, session_key: bytes) -> Identity:
    """An identity as of now; no two of them have the same random bytes."""
    return Identity(
        hostname=hostname,
        machine_id=machine_id,
        time_ns=time.time_ns(),
        entropy=os.urandom(_ENTROPY_BYTES),
        session_key=session_key,
        port=addresses.AGENT_PORT,
        management=LinkSetup(
            mac=addresses.MANAGEMENT_MAC,
            address=addresses.MANAGEMENT,
            prefix_length=addresses.PREFIX_LENGTH,
        ),
        sandbox=LinkSetup(
            mac=addresses.SANDBOX_MAC,
            address=addresses.SANDBOX,
            prefix_length=addresses.PREFIX_LENGTH,
            gateway=addresses.GATEWAY,
        ),
    )


def nobody() -> Identity:
    """For a machine that is to be frozen: links are set up, and its key is known to nobody."""
    return make_identity(
        hostname="nobody", machine_id="0" * 32, session_key=os.urandom(SESSION_KEY_BYTES)
    )
