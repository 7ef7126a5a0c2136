# SPDX-License-Identifier: Apache-2.0
"""Both sides prove that they hold the session key, by HMAC-SHA256 over two fresh numbers."""

from __future__ import annotations

import os
from _operator import (
    _compare_digest as compare_digest,  # pyright: ignore[reportPrivateUsage]  # operator has no name for it
)

from .hashes import hmac_sha256
from .wire import GENERATION, b64, parse

KEY_BYTES = 32
NONCE_BYTES = 32
_CLIENT, _SERVER = b"sbx session client", b"sbx session server"


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
