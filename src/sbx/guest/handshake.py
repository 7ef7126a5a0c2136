# SPDX-License-Identifier: Apache-2.0
"""Both sides prove that they hold the session key, by HMAC-SHA256 over two fresh numbers.

HMAC is written out here (RFC 2104): the hmac and hashlib modules load OpenSSL, which costs the
agent's start more than everything else together.
"""

from __future__ import annotations

import os
from _operator import _compare_digest as compare_digest

try:
    from _sha2 import sha256  # Python 3.12 and later
except ImportError:
    from _sha256 import sha256  # type: ignore[import-not-found,no-redef]

from .wire import GENERATION, b64, parse

KEY_BYTES = 32
NONCE_BYTES = 32
_BLOCK_BYTES = 64
_CLIENT, _SERVER = b"sbx session client", b"sbx session server"


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 for keys of at most 64 bytes."""
    padded = key.ljust(_BLOCK_BYTES, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in padded) + data).digest()
    outer: bytes = sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()
    return outer


class Handshake:
    """The agent's side of one connection's opening."""

    def __init__(self, key: bytes, nonce: bytes | None = None) -> None:
        self._key = key
        self._nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce

    def hello(self) -> dict[str, object]:
        """What the agent says first."""
        return {"generation": GENERATION, "nonce": b64(self._nonce)}

    def check(self, payload: bytes) -> dict[str, object] | None:
        """Our proof in answer to the client's, or None if the client does not hold the key.

        Raises:
            WireError: the message does not fit.
        """
        fields = parse(payload)
        fields.integer("generation", 1, 1 << 30)
        nonce, proof = fields.data("nonce", NONCE_BYTES), fields.data("proof", 32)
        expected = hmac_sha256(self._key, _CLIENT + self._nonce + nonce)
        if len(nonce) != NONCE_BYTES or not compare_digest(proof, expected):
            return None
        return {"proof": b64(hmac_sha256(self._key, _SERVER + nonce + self._nonce))}
