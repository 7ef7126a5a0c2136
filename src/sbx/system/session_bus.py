# SPDX-License-Identifier: Apache-2.0
"""Where the user's D-Bus session is, by which the keychain is reached."""

from __future__ import annotations

import os
from pathlib import Path


def keychain_environment() -> dict[str, str]:
    """What a process of ours needs to find the keychain."""
    address = session_bus()
    return {} if address is None else {"DBUS_SESSION_BUS_ADDRESS": address}


def session_bus() -> str | None:
    """The address of the user's D-Bus session, if there is one."""
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(folder, "bus")
    return f"unix:path={path}" if folder.startswith("/") and path.is_socket() else None
