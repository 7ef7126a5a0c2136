# SPDX-License-Identifier: Apache-2.0
"""HMAC-SHA256 (RFC 2104), written out: hashlib and hmac load OpenSSL, which costs the agent's start
more than everything else together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

TYPE_CHECKING = False  # typing costs 5 ms to import, and checkers know the name
if TYPE_CHECKING:
    from typing import Protocol

    class _Hash(Protocol):
        def digest(self) -> bytes: ...


# CPython's own implementation, under the name that each version gives it.
_sha256: Callable[[bytes], _Hash] = import_module(
    "_sha2" if sys.version_info >= (3, 12) else "_sha256"
).sha256
_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 for keys of at most 64 bytes."""
    padded = key.ljust(_BLOCK_BYTES, b"\0")
    inner = _sha256(padded.translate(_INNER) + data).digest()
    return _sha256(padded.translate(_OUTER) + inner).digest()
