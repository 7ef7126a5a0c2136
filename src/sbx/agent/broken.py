# SPDX-License-Identifier: Apache-2.0
"""The error for a guest agent that breaks the protocol; light, because `sbx exec` imports it."""

from __future__ import annotations

from sbx.errors import PermanentError
from sbx.protocol.frames import ProtocolError


def broken(error: ProtocolError) -> PermanentError:
    """The error for a guest that sent what the protocol does not allow."""
    return PermanentError(
        "guest agent broke the protocol",
        hint="Something in the sandbox has taken the guest agent over, or it is damaged: "
        "stop the sandbox",
        details=str(error),
    )
